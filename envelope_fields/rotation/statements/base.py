"""What every database is asked in the same words, and what each has words of its own for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from envelope_fields.columns import Column
from envelope_fields.crypto import format as layout
from envelope_fields.exceptions import EnvelopeError

Key = tuple[Any, ...]  # a row's primary key as the driver gives it, one item a column

HEADERS_IN_A_QUERY = 500  # more are picked out in Python: that many parameters help no database


class Stored(NamedTuple):
    """A stored value without its payload."""

    key: Key
    head: bytes  # the 81 bytes in front of the payload
    size: int  # of the whole value, in bytes

    @property
    def version_id(self) -> bytes:
        """The key version that the value is under."""
        return self.head[1 : layout.HEADER_BYTES]


class Change(NamedTuple):
    """What is to be written to a row whose value still begins with `head`."""

    key: Key
    head: bytes
    new: bytes  # the new head; or, in a change of whole values, the new value


class KeysOutOfOrder(EnvelopeError):
    """The rows of a table cannot be gone through in the order of their primary keys."""

    def __init__(self, column: Column) -> None:
        super().__init__(
            f"The rows of {column.model._meta.label} cannot be gone through: the database driver "
            "gives primary keys of this type back as something else, which the database does not "
            "compare as it orders them. Save the rows instead."
        )


class Statements(ABC):
    """The statements about one encrypted column. Keys go back to the driver as they came from it.

    Args:
        column: the column.
    """

    numbers_bytes = "length"  # the function that counts the bytes of a value

    def __init__(self, column: Column) -> None:
        self.column = column
        # Parameters go with each statement, so a percent sign in a name is written twice.
        self.table = column.table_sql.replace("%", "%%")
        self.name = column.column_sql.replace("%", "%%")
        self.value = f"{self.table}.{self.name}"
        self.keys = [
            f"{self.table}.{self._quoted(str(field.column))}"
            for field in column.model._meta.pk_fields
        ]
        self.key_list = ", ".join(self.keys)
        self.aliases = [f"key{place}" for place in range(1, len(self.keys) + 1)]

    def largest(self, *, whole: bool) -> int | None:
        """Return how many bytes a value may have to be swapped; None is as many as it likes."""
        return None

    @property
    def connection(self) -> BaseDatabaseWrapper:
        """This thread's connection to the column's database."""
        return connections[self.column.database]

    def _quoted(self, name: str) -> str:
        return self.connection.ops.quote_name(name).replace("%", "%%")

    # Reading

    def end_of_range(self, after: Key | None, rows: int) -> Key | None:
        """Return the key of the last of the next `rows` rows behind `after`, None where none is."""
        where, params = self._between(after, None)
        ahead = [f"ahead.{alias}" for alias in self.aliases]
        found = self._fetch(
            f"SELECT {self._read(ahead)} FROM (SELECT {self.aliased_keys} FROM {self.table} "  # noqa: S608
            f"WHERE {where} ORDER BY {self.key_list} LIMIT {rows:d}) AS ahead "
            f"ORDER BY {', '.join(f'{key} DESC' for key in ahead)} LIMIT 1",
            params,
        )
        self._refuse_standstill(after, found)
        return tuple(found[0]) if found else None

    def heads(
        self, version_ids: Sequence[bytes], after: Key | None, until: Key | None, rows: int
    ) -> list[Stored]:
        """Return the first `rows` values under these versions, in the order of their keys.

        Where there are many versions, those under others come along.

        Args:
            version_ids: the key versions.
            after: the key to begin behind.
            until: the key to end with; None is the last.
            rows: how many at most.
        """
        where, params = self._between(after, until)
        heads = [layout.header(version_id) for version_id in version_ids]
        if len(heads) > HEADERS_IN_A_QUERY:
            wanted, length = [layout.FORMAT_VERSION], 1
        else:
            wanted, length = heads, layout.HEADER_BYTES
        found = self._fetch(
            self._heads_sql(where, f"substr({{}}, 1, {length}) IN ({_marks(wanted)})", rows),
            [*params, *wanted],
        )
        self._refuse_standstill(after, [row[:-2] for row in found[-1:]])
        return [Stored(tuple(row[:-2]), bytes(row[-2]), row[-1]) for row in found]

    def _heads_sql(self, where: str, under: str, rows: int) -> str:
        size = f"{self.numbers_bytes}({self.value})"
        return (
            f"SELECT {self._read(self.keys)}, "  # noqa: S608 - all quoted
            f"substr({self.value}, 1, {layout.PAYLOAD_AT}), {size} FROM {self.table} "
            f"WHERE {where} AND {size} >= {layout.OVERHEAD_BYTES} "
            f"AND {under.format(self.value)} ORDER BY {self.key_list} LIMIT {rows:d}"
        )

    def sizes(self, after: Key | None, rows: int) -> list[tuple[Key, int]]:
        """Return the keys of the next `rows` values behind `after`, and how many bytes each has."""
        where, params = self._between(after, None)
        found = self._fetch(
            f"SELECT {self._read(self.keys)}, {self.numbers_bytes}({self.value}) "  # noqa: S608
            f"FROM {self.table} WHERE {where} AND {self.value} IS NOT NULL "
            f"ORDER BY {self.key_list} LIMIT {rows:d}",
            params,
        )
        self._refuse_standstill(after, [row[:-1] for row in found[-1:]])
        return [(tuple(row[:-1]), row[-1]) for row in found]

    def values(self, keys: Sequence[Key]) -> dict[Key, Any]:
        """Return the whole values of some rows, as they are stored."""
        where, params = self._among(keys)
        found = self._fetch(
            f"SELECT {self._read(self.keys)}, {self.value} FROM {self.table} "  # noqa: S608
            f"WHERE {where}",
            params,
        )
        return {tuple(row[:-1]): row[-1] for row in found}

    # Writing

    @abstractmethod
    def swap(self, changes: Sequence[Change], *, whole: bool) -> int:
        """Write new heads in front of the payloads, or whole values; return how many rows changed.

        A row whose value does not begin with the head any more is left as it is.
        """

    def limit_waiting(  # noqa: B027 - not every database waits
        self, lock_seconds: float, seconds: float
    ) -> None:
        """Have the rest of the transaction fail instead of waiting longer, for locks or at all."""

    def lock_what_is_free(self, keys: Sequence[Key]) -> set[Key]:
        """Lock those rows that nobody else has locked, without waiting, and return their keys."""
        if not self.connection.features.has_select_for_update_skip_locked:
            return set(keys)  # whoever writes them waits, for as long as it is allowed to
        where, params = self._among(keys)
        free = (
            f"SELECT {self._read(self.keys)} FROM {self.table} WHERE {where} "  # noqa: S608
            "FOR UPDATE SKIP LOCKED"
        )
        found = self._fetch(self._impatiently(free), params)
        return {tuple(row) for row in found}

    # Parts

    def _impatiently(self, statement: str) -> str:
        """Return a statement that waits no longer than `limit_waiting` has said."""
        return statement

    def _refuse_standstill(self, after: Key | None, last: Sequence[Sequence[Any]]) -> None:
        """Raise where the rows behind a key end with that very key: it would go on for ever."""
        if last and after == tuple(last[0]):
            raise KeysOutOfOrder(self.column)

    def _between(self, after: Key | None, until: Key | None) -> tuple[str, list[Any]]:
        """Return the condition for the keys behind `after` and up to `until`."""
        conditions, params = ["1 = 1"], []
        if after is not None:
            conditions.append(self._compared(">", len(after)))
            params.extend(self._operands(after))
        if until is not None:
            conditions.append(self._compared("<=", len(until)))
            params.extend(self._operands(until))
        return " AND ".join(conditions), params

    def _compared(self, operator: str, columns: int) -> str:
        if columns == 1:
            return f"({self.keys[0]} {operator} %s)"
        return f"(({self.key_list}) {operator} ({_marks(self.keys)}))"

    def _operands(self, key: Key) -> list[Any]:
        return list(key)

    def _among(self, keys: Sequence[Key]) -> tuple[str, list[Any]]:
        if len(self.keys) == 1:
            return f"{self.keys[0]} IN ({_marks(keys)})", [item for key in keys for item in key]
        row = f"({_marks(self.keys)})"
        rows = ", ".join([row] * len(keys))
        return f"({self.key_list}) IN ({rows})", [item for key in keys for item in key]

    @property
    def aliased_keys(self) -> str:
        """The key columns under names that no two of them share."""
        return ", ".join(map("{} AS {}".format, self.keys, self.aliases))

    def _read(self, keys: Sequence[str]) -> str:
        """Return what selects keys so that they can go back as they came."""
        return ", ".join(keys)

    def _fetch(self, sql: str, params: Sequence[Any]) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(sql, params)
            return list(cursor.fetchall())


def _marks(items: Sequence[Any]) -> str:
    return ", ".join(["%s"] * len(items))
