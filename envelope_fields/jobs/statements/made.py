"""Statements about a column whose values are made of others in their rows: a blind index."""

from collections.abc import Sequence
from typing import Any

from envelope_fields.crypto import format as layout
from envelope_fields.jobs.job import Change, Key, Stored
from envelope_fields.jobs.statements.packed import Packed, packed
from envelope_fields.jobs.statements.parts import Parts
from envelope_fields.jobs.statements.values import as_bytes

# Values that are together as short as this come along when rows are read. A batch of them is as
# large as what jobs take into memory at once; longer ones are read in several parts.
SHORT_BYTES = 1024


class MadeStatements(Parts):
    """Reads rows, with or without a value, and writes one column of them.

    A change has as its head what was read of each column that is compared, as the driver gave it.
    Of an envelope that is its first 81 bytes, with which no other one begins.
    """

    _SAME = "IS"  # as a comparison that takes NULL for the same as NULL
    _BATCH = "batch"  # what the rows of a batch are called, where a statement joins them
    _NUMBER = "batch.nth"  # of such a row, from 1
    _MARK_OF_RUN = "%s"

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
        columns = [f"{self.table}.{self._quoted(each)}" for each in made_of]
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

    def swap_made(self, changes: Sequence[Change], compared: Sequence[str]) -> int:
        """Write values to rows that are as they were read; return how many rows changed.

        Args:
            changes: at least one, in the order of their keys; the new value may be None.
            compared: the columns that the heads of changes have.
        """
        conditions = [f"{key} = %s" for key in self.keys]
        conditions += [self._same(self.table, each, "%s", "%s") for each in compared]
        params = [
            (change.new, *change.key, *(item for read in change.head for item in _compared(read)))
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

    def _packed(self, name: str, values: Sequence[Any]) -> Packed:
        return packed(name, values, batch=self._BATCH, number=self._NUMBER, mark=self._MARK_OF_RUN)

    def _unchanged(self, changes: Sequence[Change], compared: Sequence[str], table: str) -> Packed:
        """Return the condition that the columns of a row are as the head of its change has them."""
        conditions, params, columns = [], list[bytes](), dict[str, list[int | None]]()
        for position, column in enumerate(compared):
            found = [_compared(change.head[position]) for change in changes]
            value = self._packed(f"read{position}", [each for _, each in found])
            heads: list[int | None] = [int(is_head) for is_head, _ in found]
            is_head = f"1 = {heads[0]}"
            if len(set(heads)) > 1:
                name = f"is_head{position}"
                is_head, columns[name] = f"{self._BATCH}.{name} = 1", heads
            conditions.append(self._same(table, column, is_head, value.sql))
            params += value.params
            columns |= value.columns
        return Packed(" AND ".join(conditions), params, columns)

    def _same(self, table: str, column: str, is_head: str, value: str) -> str:
        """Return the condition that a column is as it was read."""
        stored = f"{table}.{self._quoted(column)}"
        head = f"substr({stored}, 1, {layout.PAYLOAD_AT})"
        return f"CASE WHEN {is_head} THEN {head} ELSE {stored} END {self._SAME} {value}"


def _stored(row: tuple[Any, ...], width: int) -> Stored:
    """Return a row of `rows`, whose key has so many columns."""
    size, beside = row[width], row[width + 1 :]
    return Stored(row[:width], as_bytes(beside[0]), size, beside if size <= SHORT_BYTES else None)


def _compared(value: Any) -> tuple[bool, Any]:
    """Return whether a value is compared by its first 81 bytes, and these; or the whole one."""
    is_head = isinstance(value, bytes | memoryview) and len(value) > layout.PAYLOAD_AT
    if is_head and value[:1] == layout.FORMAT_VERSION:
        return True, value[: layout.PAYLOAD_AT]
    return False, value
