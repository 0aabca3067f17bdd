"""MariaDB: one UPDATE a batch, which joins the rows of the batch as a derived table."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from envelope_fields.jobs.job import Change, Key
from envelope_fields.jobs.statements import Statements
from envelope_fields.jobs.statements.made import read_names

_BATCH = "envelope_fields_batch"  # no table of the project is called so


class MySQL(Statements):
    """MariaDB, and MySQL where it says the same."""

    _SAME = "<=>"
    _waiting = ""
    _mark_of_bytes = "_binary %s"

    def _swap(self, changes: Sequence[Change], *, replaces_payload: bool) -> int:
        new = f"{_BATCH}.new"
        if not replaces_payload:
            new = f"CONCAT({new}, SUBSTR({self.value}, {self.head_bytes + 1}))"
        return self._written(changes, new, f"SUBSTR({self.value}, 1, {self.head_bytes})")

    def swap_values(self, changes: Sequence[Change]) -> int:
        return self._written(changes, f"{_BATCH}.new", self.value)

    def write_values(self, changes: Sequence[Change]) -> int:
        known = [Change(key, b"", new) for key, _, new in changes]
        return self._written(known, f"{_BATCH}.new", "", where="TRUE")

    def _written(self, changes: Sequence[Change], new: str, same: str, *, where: str = "") -> int:
        """Write what SQL gives as new, where it gives the same as the head of the change."""
        # What is longer, CONCAT cuts to NULL, and says so in strict mode alone.
        fits = f"{same} = {_BATCH}.head AND LENGTH({self.value}) <= @@max_allowed_packet"
        row = ", ".join([*map(self._mark, changes[0].key), "_binary %s", "_binary %s"])
        return self._updated(
            {"head": "_binary ''", "new": "_binary ''"},
            [row] * len(changes),
            [item for change in changes for item in (*change.key, change.head, change.new)],
            new,
            where or fits,
        )

    def swap_made(self, changes: Sequence[Change], compared: Sequence[str]) -> int:
        kinds, same = {"new": "_binary ''"}, []
        for column, is_head, value in read_names(compared):
            kinds |= {is_head: "0", value: "_binary ''"}
            same.append(self._same(self.table, column, f"{_BATCH}.{is_head}", f"{_BATCH}.{value}"))
        rows, params = [], []
        for key, read, made in changes:
            extra = [made, *(item for each in read for item in each)]
            rows.append(", ".join([*map(self._mark, key), *map(_mark_of_value, extra)]))
            params += [*key, *extra]
        return self._updated(kinds, rows, params, f"{_BATCH}.new", " AND ".join(same))

    def _updated(
        self,
        kinds: Mapping[str, str],
        rows: Sequence[str],
        params: Sequence[Any],
        new: str,
        where: str,
    ) -> int:
        """Join the rows of a batch, and write what SQL gives as new, where a condition holds.

        Args:
            kinds: what rows have after their keys, and a value of the type of each.
            rows: the marks of each row of the batch.
            params: what these stand for.
            new: the new value.
            where: the condition.
        """
        extra = ", ".join(f"{value} AS {name}" for name, value in kinds.items())
        # The first SELECT finds nothing. It lends the columns of the batch the types of the keys,
        # and their collations, without which texts would not compare.
        batch = " UNION ALL ".join(
            [
                f"SELECT {self.aliased_keys}, {extra} FROM {self.table} WHERE FALSE",
                *map("SELECT {}".format, rows),
            ]
        )
        # The batch comes first: a table that is scanned would have all its rows locked.
        joined = " AND ".join(
            f"{key} = {_BATCH}.{alias}" for key, alias in zip(self.keys, self.aliases, strict=True)
        )
        swap = (
            f"UPDATE ({batch}) AS {_BATCH} STRAIGHT_JOIN {self.table} ON {joined} "
            f"SET {self.value} = {new} WHERE {where}"
        )
        with self.connection.cursor() as cursor:
            cursor.execute(self._impatiently(swap), params)
            return int(cursor.rowcount)

    def limit_waiting(self, lock_seconds: float, seconds: float) -> None:
        if getattr(self.connection, "mysql_is_mariadb", False):
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

    @staticmethod
    def _mark(item: Any) -> str:
        return "_binary %s" if isinstance(item, bytes) else "%s"


def _mark_of_value(item: Any) -> str:
    return "%s" if item is None or isinstance(item, bool) else "_binary %s"
