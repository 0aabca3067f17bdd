"""MariaDB: one UPDATE a batch, which joins the rows of the batch as a derived table."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from envelope_fields.jobs.job import Change, Key
from envelope_fields.jobs.statements import Statements
from envelope_fields.jobs.statements.parts import Same

_BATCH = "envelope_fields_batch"  # no table of the project is called so


class MySQL(Statements):
    """MariaDB, and MySQL where it says the same."""

    _SAME = "<=>"
    _BATCH = _BATCH
    _NUMBER = f"{_BATCH}.nth"
    _MARK_OF_BYTES = "_binary %s"
    _waiting = ""

    def _update(
        self, changes: Sequence[Change], same: Sequence[Same], *, keeps_payload: bool = False
    ) -> int:
        new = self._packed("new", [change.new for change in changes])
        where = self._unchanged(same, self.table)
        value, condition = new.sql, where.sql
        if keeps_payload:
            value = f"CONCAT({value}, SUBSTR({self.value}, {self.head_bytes + 1}))"
            # What is longer, CONCAT cuts to NULL, and says so in strict mode alone.
            condition += f" AND LENGTH({self.value}) <= @@max_allowed_packet"
        columns = {"nth": range(1, len(changes) + 1), **new.columns, **where.columns}
        numbers = zip(*columns.values(), strict=True)
        items = [(*change.key, *each) for change, each in zip(changes, numbers, strict=True)]
        rows = [", ".join(map(_written_out, row)) for row in items]
        params = [item for row in items for item in row if not _is_number(item)]
        extra = ", ".join(f"0 AS {name}" for name in columns)
        # This SELECT finds nothing. It lends the columns of the batch the types of the keys, and
        # their collations, without which texts would not compare.
        types = f"SELECT {self._aliased_keys}, {extra} FROM {self.table} WHERE FALSE"
        batch = f"{types} UNION ALL {self._listed(rows, params)}"
        # The batch comes first: a table that is scanned would have all its rows locked.
        joined = " AND ".join(
            f"{key} = {_BATCH}.{alias}" for key, alias in zip(self.keys, self.aliases, strict=True)
        )
        swap = (
            f"UPDATE ({batch}) AS {_BATCH} STRAIGHT_JOIN {self.table} ON {joined} "
            f"SET {self.value} = {value} WHERE {condition}"
        )
        return self._execute(swap, [*params, *new.params, *where.params])

    def _listed(self, rows: Sequence[str], params: Sequence[Any]) -> str:
        """Return the query of some rows, each with what is selected."""
        # A text in VALUES is not converted to the character set of its column, as one in SELECT is.
        is_converted = any(isinstance(item, str) and not item.isascii() for item in params)
        if self._is_mariadb and not is_converted:
            return f"VALUES ({'), ('.join(rows)})"  # it is parsed in a fraction of the time
        return " UNION ALL ".join(map("SELECT {}".format, rows))

    @property
    def _is_mariadb(self) -> bool:
        return bool(getattr(self.connection, "mysql_is_mariadb", False))

    def limit_waiting(self, lock_seconds: float, seconds: float) -> None:
        if self._is_mariadb:
            whole_seconds = max(1, round(lock_seconds))
            # The first is for rows, the second for the table, while it is altered.
            self._waiting = (
                f"SET STATEMENT innodb_lock_wait_timeout={whole_seconds:d}, "
                f"lock_wait_timeout={whole_seconds:d}, max_statement_time={seconds:.3f} FOR "
            )

    def _impatiently(self, statement: str) -> str:
        return f"{self._waiting}{statement}"

    def largest(self, *, replaces_payload: bool) -> int:
        # Where the value is in the statement, some of its bytes are escaped.
        return self._packet * 15 // 16 if replaces_payload else self._packet

    @cached_property
    def _packet(self) -> int:
        return int(self._fetch("SELECT @@max_allowed_packet", ())[0][0])

    def _compared(self, keys: Sequence[str], operator: str) -> str:
        # Neither MySQL nor MariaDB finds a range of an index by comparing rows.
        alternatives = []
        for position, key in enumerate(keys):
            last = position == len(keys) - 1
            same = [f"{earlier} = %s" for earlier in keys[:position]]
            alternatives.append(
                " AND ".join([*same, f"{key} {operator if last else operator[0]} %s"])
            )
        return f"({' OR '.join(alternatives)})"

    def _operands(self, key: Key) -> list[Any]:
        return [item for length in range(1, len(key) + 1) for item in key[:length]]


def _is_number(item: Any) -> bool:
    return item is None or type(item) is int


def _written_out(item: Any) -> str:
    """Return a number as SQL, and the mark of what is none: a driver takes long for each."""
    if _is_number(item):
        return "NULL" if item is None else str(item)
    return "_binary %s" if isinstance(item, bytes) else "%s"
