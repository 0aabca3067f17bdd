"""Statements about two columns: one in clear, and the encrypted one that takes its place."""

from collections.abc import Sequence
from typing import Any

from envelope_fields.jobs.job import Change, Key
from envelope_fields.jobs.statements.parts import Parts


class PairStatements(Parts):
    """Reads an encrypted column and another one beside it, and writes either."""

    def columns(
        self, keys: Sequence[Key], names: Sequence[str], *, lock: bool = False
    ) -> dict[Key, tuple[Any, ...]]:
        """Return columns of some rows, as Django's converters take them.

        Args:
            keys: of the rows, in their order.
            names: of the columns.
            lock: whether to lock the rows, and leave out those that others have locked.
        """
        where, params = self._among(keys)
        read = ", ".join(f"{self.table}.{self._quoted(name)}" for name in names)
        select = f"SELECT {self._read(self.keys)}, {read} FROM {self.table} WHERE {where}"
        if lock:
            select = self._impatiently(f"{select}{self._locking}")
        found, size = self._fetch_columns(select, params, names), len(self.keys)
        return {tuple(row[:size]): tuple(row[size:]) for row in found}

    def keys_with_value(self, keys: Sequence[Key], name: str) -> list[Key]:
        """Return the keys of those rows, of some, in which a column is not NULL."""
        where, params = self._among(keys)
        found = self._fetch(
            f"SELECT {self._read(self.keys)} FROM {self.table} WHERE {where} "
            f"AND {self._column(name)} IS NOT NULL",
            params,
        )
        return list(map(tuple, found))

    def rows_where(
        self, condition: str, beside: str, after: Key | None, until: Key | None, rows: int
    ) -> list[tuple[Any, ...]]:
        """Return the keys of the next rows that a condition holds for, each with its size.

        Args:
            condition: SQL without parameters, of the columns `{old}` and `{new}`.
            beside: the name of the old column.
            after: the key to begin behind.
            until: the key to end with; None is the last.
            rows: how many at most.
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

    def some_beside(self, beside: str, rows: int, *, last: bool = False) -> dict[Key, Any]:
        """Return some values of the old column, by the keys of their rows.

        Args:
            beside: the name of the old column.
            rows: how many at most.
            last: whether those of the last rows are wanted, and not of the first.
        """
        keys = ", ".join(f"{key} DESC" for key in self.keys) if last else self.key_list
        column = self._column(beside)
        found = self._fetch_columns(
            f"SELECT {self._read(self.keys)}, {column} FROM {self.table} "
            f"WHERE {column} IS NOT NULL ORDER BY {keys} LIMIT {rows:d}",
            (),
            [beside],
        )
        return {tuple(row[:-1]): row[-1] for row in found}

    def _fetch_columns(
        self, sql: str, params: Sequence[Any], names: Sequence[str]
    ) -> list[tuple[Any, ...]]:
        return self._fetch(sql, params)

    def count_where(self, conditions: Sequence[str], beside: str) -> list[int]:
        """Count the rows that each of some conditions holds for, in one statement; as above."""
        counts = ", ".join(
            f"count(CASE WHEN {self._of_pair(each, beside)} THEN 1 END)" for each in conditions
        )
        [found] = self._fetch(f"SELECT {counts} FROM {self.table}", ())
        return list(map(int, found))

    def _of_pair(self, condition: str, beside: str) -> str:
        return condition.format(old=self._column(beside), new=self.value)

    def _column(self, name: str) -> str:
        return f"{self.table}.{self._quoted(name)}"

    def _size_of(self, name: str | None) -> str:
        """Return SQL for about how many bytes a column has; None is the encrypted one."""
        column = self.value if name is None else self._column(name)
        return f"coalesce(length({column}), 0)"

    # Of rows that the transaction has locked and looked at

    def write_values(self, changes: Sequence[Change]) -> int:
        """Write whole values by the keys of their rows alone; return how many rows changed."""
        where = " AND ".join(f"{key} = %s" for key in self.keys)
        binary = self.connection.Database.Binary
        with self.connection.cursor() as cursor:
            cursor.executemany(
                f"UPDATE {self.table} SET {self.name} = %s WHERE {where}",
                [(binary(new), *key) for key, _, new in changes],
            )
            return int(cursor.rowcount)

    def clear(self, names: Sequence[str], keys: Sequence[Key]) -> int:
        """Write NULL into columns of some rows; return how many rows changed.

        Args:
            names: of the columns.
            keys: of the rows, in their order.
        """
        where, params = self._among(keys)
        cleared = ", ".join(f"{self._quoted(name)} = NULL" for name in names)
        with self.connection.cursor() as cursor:
            cursor.execute(
                self._impatiently(f"UPDATE {self.table} SET {cleared} WHERE {where}"), params
            )
            return int(cursor.rowcount)
