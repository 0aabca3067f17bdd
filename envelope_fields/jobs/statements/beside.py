"""Statements about a column and others in its rows: what it is made of, or takes the place of.

The first are those of a blind index, the second those of a conversion: of a column in clear, or of
another package's, whose values go over into the encrypted one.
"""

from collections.abc import Sequence
from typing import Any

from envelope_fields.jobs.job import Key, Stored
from envelope_fields.jobs.statements.parts import Parts, as_bytes, by_key

# Values that are together as short as this come along when rows are read. A batch of them is as
# large as what jobs take into memory at once; longer ones are read in several parts.
SHORT_BYTES = 1024


class BesideStatements(Parts):
    """Reads a column and others beside it. Writing it is the same as for a column alone."""

    def rows(
        self, after: Key | None, until: Key | None, rows: int, made_of: Sequence[str]
    ) -> list[Stored]:
        """Return the first rows, in the order of their keys, also those without a value.

        The head of each is its whole value, empty where it has none. What was read beside it is
        this value as it is, and those that it is made of; nothing where these are long.

        Args:
            after, until, rows: as for `Statements.heads`.
            made_of: the columns that values are made of; what is in them is the size of a row.
        """
        where, params = self._between(after, until)
        columns = list(map(self._column, made_of))
        size = " + ".join(f"COALESCE(length({each}), 0)" for each in columns)
        short = ", ".join(f"CASE WHEN {size} <= {SHORT_BYTES} THEN {each} END" for each in columns)
        found = self._fetch(
            f"SELECT {self._read(self.keys)}, {size}, {self.value}, {short} FROM {self.table} "
            f"WHERE {where} ORDER BY {self.key_list} LIMIT {rows:d}",
            params,
        )
        width = len(self.keys)
        self._refuse_standstill(after, [row[:width] for row in found[-1:]])
        return [_stored(tuple(row), width) for row in found]

    def keys_of_value(self, value: bytes) -> list[Key]:
        """Return the keys of the first two rows that have a value."""
        found = self._fetch(
            f"SELECT {self._read(self.keys)} FROM {self.table} WHERE {self.value} = %s "
            f"ORDER BY {self.key_list} LIMIT 2",
            [value],
        )
        return list(map(tuple, found))

    def columns(
        self, keys: Sequence[Key], names: Sequence[str], *, lock: bool = False
    ) -> dict[Key, tuple[Any, ...]]:
        """Return columns of some rows, as Django's converters take them.

        Args:
            keys: of the rows, in their order.
            names: of the columns.
            lock: whether to lock the rows, and leave out those that others have locked.

        Raises:
            KeysShared: rows cannot be told apart.
        """
        where, params = self._among(keys)
        read = ", ".join(map(self._column, names))
        select = f"SELECT {self._read(self.keys)}, {read} FROM {self.table} WHERE {where}"
        if lock:
            select = self._impatiently(f"{select}{self._locking}")
        return self._by_key(self._fetch_columns(select, params, names))

    def keys_with_value(self, keys: Sequence[Key], name: str) -> list[Key]:
        """Return the keys of those rows, of some, in which a column is not NULL."""
        found = self._of_each(keys, f"{self._column(name)} IS NOT NULL")
        return [key for key, has_value in found if has_value]

    def rows_where(
        self, condition: str, beside: str, after: Key | None, until: Key | None, rows: int
    ) -> list[tuple[Any, ...]]:
        """Return the keys of the next rows that a condition holds for, each with its size.

        Args:
            condition: SQL without parameters, of the columns `{old}` and `{new}`.
            beside: the name of the old column.
            after, until, rows: as for `Statements.heads`.
        """
        where, params = self._between(after, until)
        # By CASE, PostgreSQL expects to find every second row, and follows the index of the keys.
        return self._fetch(
            f"SELECT {self._read(self.keys)}, {self._size_of(beside)} + {self._size_of(None)} "
            f"FROM {self.table} WHERE {where} "
            f"AND CASE WHEN {self._of_pair(condition, beside)} THEN 1 ELSE 0 END = 1 "
            f"ORDER BY {self.key_list} LIMIT {rows:d}",
            params,
        )

    def count_where(self, conditions: Sequence[str], beside: str) -> list[int]:
        """Count the rows that each of some conditions holds for, in one statement; as above."""
        counts = ", ".join(
            f"count(CASE WHEN {self._of_pair(each, beside)} THEN 1 END)" for each in conditions
        )
        [found] = self._fetch(f"SELECT {counts} FROM {self.table}", ())
        return list(map(int, found))

    def some_beside(self, beside: str, rows: int, *, last: bool = False) -> dict[Key, Any]:
        """Return some values of the old column, by the keys of their rows.

        Args:
            beside: the name of the old column.
            rows: how many at most.
            last: whether those of the last rows are wanted, and not of the first.
        """
        sql = self._some_sql(self._column(beside), rows, last=last)
        return by_key(self._fetch_columns(sql, (), [beside]))

    def first_others(
        self, rows: int, begins_with: Sequence[bytes], *, last: bool = False
    ) -> dict[Key, Any]:
        """Return some values that begin otherwise than with one of some bytes, as they are stored.

        Args:
            rows, last: as above.
            begins_with: single bytes.
        """
        others = (
            f" AND (length({self.value}) = 0 OR "
            f"substr({self.value}, 1, 1) NOT IN ({self._marks(begins_with)}))"
        )
        sql = self._some_sql(self.value, rows, others, last=last)
        return by_key(self._fetch(sql, list(begins_with)))

    def clear(self, names: Sequence[str], keys: Sequence[Key]) -> int:
        """Write NULL into columns of some rows; return how many rows changed.

        Args:
            names: of the columns.
            keys: of the rows, in their order. They are locked, and were looked at.
        """
        where, params = self._among(keys)
        cleared = ", ".join(f"{self._quoted(name)} = NULL" for name in names)
        return self._execute(f"UPDATE {self.table} SET {cleared} WHERE {where}", params)

    @property
    def _locking(self) -> str:
        """What has a SELECT lock rows, and leave out those that are locked where it can."""
        features = self.connection.features
        if features.has_select_for_update_skip_locked:
            return " FOR UPDATE SKIP LOCKED"
        return " FOR UPDATE" if features.has_select_for_update else ""  # it waits as an UPDATE does

    def _some_sql(self, column: str, rows: int, more: str = "", *, last: bool) -> str:
        keys = ", ".join(f"{key} DESC" for key in self.keys) if last else self.key_list
        return (
            f"SELECT {self._read(self.keys)}, {column} FROM {self.table} "
            f"WHERE {column} IS NOT NULL{more} ORDER BY {keys} LIMIT {rows:d}"
        )

    def _fetch_columns(
        self, sql: str, params: Sequence[Any], names: Sequence[str]
    ) -> list[tuple[Any, ...]]:
        return self._fetch(sql, params)

    def _of_pair(self, condition: str, beside: str) -> str:
        return condition.format(old=self._column(beside), new=self.value)

    def _size_of(self, name: str | None) -> str:
        """Return SQL for about how many bytes a column has; None is the encrypted one."""
        column = self.value if name is None else self._column(name)
        return f"coalesce(length({column}), 0)"


def _stored(row: tuple[Any, ...], width: int) -> Stored:
    """Return a row of `rows`, whose key has so many columns."""
    size, beside = row[width], row[width + 1 :]
    return Stored(row[:width], as_bytes(beside[0]), size, beside if size <= SHORT_BYTES else None)
