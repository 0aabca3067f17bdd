"""Statements about a column whose values are made of others in their rows: a blind index."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from envelope_fields.crypto import format as layout
from envelope_fields.jobs.job import Change, Key, Stored
from envelope_fields.jobs.statements.parts import Parts
from envelope_fields.jobs.statements.values import as_bytes


class Read(NamedTuple):
    """What was read of a column beside the one that is written.

    Attributes:
        is_head: whether the value is an envelope, whose first 81 bytes no other one begins with.
        value: these bytes, or the whole value; None is NULL.
    """

    is_head: bool
    value: Any


class MadeStatements(Parts):
    """Reads rows, with or without a value, and writes one column of them.

    A change has as its head a `Read` for each of the columns that are compared.
    """

    _SAME = "IS"  # as a comparison that takes NULL for the same as NULL

    def rows(
        self, after: Key | None, until: Key | None, rows: int, made_of: Sequence[str]
    ) -> list[Stored]:
        """Return the first rows, in the order of their keys, also those without a value.

        The head of each is its whole value, empty where it has none.

        Args:
            after, until, rows: as for `Statements.heads`.
            made_of: the columns that values are made of; what is in them is the size of a row.
        """
        where, params = self._between(after, until)
        size = " + ".join(
            f"COALESCE(length({self.table}.{self._quoted(each)}), 0)" for each in made_of
        )
        found = self._fetch(
            f"SELECT {self._read(self.keys)}, {self.value}, {size} FROM {self.table} "
            f"WHERE {where} ORDER BY {self.key_list} LIMIT {rows:d}",
            params,
        )
        self._refuse_standstill(after, [row[:-2] for row in found[-1:]])
        return [Stored(tuple(row[:-2]), as_bytes(row[-2]), row[-1]) for row in found]

    def swap_made(self, changes: Sequence[Change], compared: Sequence[str]) -> int:
        """Write values to rows that are as they were read; return how many rows changed.

        Args:
            changes: at least one, in the order of their keys; the new value may be None.
            compared: the columns that the heads of changes have.
        """
        conditions = [f"{key} = %s" for key in self.keys]
        conditions += [self._same(self.table, each, "%s", "%s") for each in compared]
        params = [
            (change.new, *change.key, *(item for read in change.head for item in read))
            for change in changes
        ]
        with self.connection.cursor() as cursor:
            cursor.executemany(
                f"UPDATE {self.table} SET {self.name} = %s WHERE {' AND '.join(conditions)}", params
            )
            return int(cursor.rowcount)

    def keys_of_value(self, value: bytes) -> list[Key]:
        """Return the keys of the first two rows that have a value."""
        found = self._fetch(
            f"SELECT {self._read(self.keys)} FROM {self.table} WHERE {self.value} = %s "
            f"ORDER BY {self.key_list} LIMIT 2",
            [value],
        )
        return [tuple(row) for row in found]

    def _same(self, table: str, column: str, is_head: str, value: str) -> str:
        """Return the condition that a column is as it was read."""
        stored = f"{table}.{self._quoted(column)}"
        head = f"substr({stored}, 1, {layout.PAYLOAD_AT})"
        return f"CASE WHEN {is_head} THEN {head} ELSE {stored} END {self._SAME} {value}"


def read_names(compared: Iterable[str]) -> list[tuple[str, str, str]]:
    """Return each column that is compared, with the names of what a batch has of it."""
    return [(column, f"is_head{n}", f"read{n}") for n, column in enumerate(compared)]
