"""The SQL of jobs: what is read of a column, and how it is swapped; one vendor a module.

Mostly what is in front of the payloads is read, in the order of the primary keys.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import defaultdict
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from envelope_fields import databases
from envelope_fields.census.columns import Column
from envelope_fields.crypto import format as layout
from envelope_fields.crypto.format import ENVELOPE
from envelope_fields.jobs.job import VERSION_ID, Change, Key, Stored
from envelope_fields.jobs.statements.beside import BesideStatements
from envelope_fields.jobs.statements.parts import Same, as_bytes

# By the vendor's name, which is that of a module here.
_OF_VENDOR = {"postgresql": "PostgreSQL", "mysql": "MySQL", "sqlite": "SQLite"}


def statements(column: Column) -> Statements:
    """Return the statements about a column, for the database that it is in.

    Raises:
        ImproperlyConfigured: values cannot be moved in a database of this vendor.
    """
    vendor = connections[column.database].vendor
    if vendor not in _OF_VENDOR:
        raise ImproperlyConfigured(
            f"The database {column.database!r} is {vendor}; values are moved on PostgreSQL, "
            "MariaDB and SQLite."
        )
    found: Statements = getattr(import_module(f"{__name__}.{vendor}"), _OF_VENDOR[vendor])(column)
    return found


class Statements(BesideStatements):
    """The statements about one encrypted column, or one that is made of such columns."""

    # Reading

    def end_of_range(self, after: Key | None, rows: int) -> Key | None:
        """Return the key of the last of the next `rows` rows behind `after`, None where none is."""
        where, params = self._between(after, None)
        ahead = [f"ahead.{alias}" for alias in self.aliases]
        found = self._fetch(
            f"SELECT {self._read(ahead)} FROM (SELECT {self._aliased_keys} FROM {self.table} "
            f"WHERE {where} ORDER BY {self.key_list} LIMIT {rows:d}) AS ahead "
            f"ORDER BY {', '.join(f'{key} DESC' for key in ahead)} LIMIT 1",
            params,
        )
        self._refuse_standstill(after, found)
        return tuple(found[0]) if found else None

    def heads(
        self,
        version_ids: Sequence[bytes] | None,
        after: Key | None,
        until: Key | None,
        rows: int,
    ) -> list[Stored]:
        """Return the first `rows` values under these versions, in the order of their keys.

        Where there are many versions, those under others come along.

        Args:
            version_ids: the key versions; None for every value, whatever it is.
            after: the key to begin behind.
            until: the key to end with; None is the last.
            rows: how many at most.
        """
        where, params = self._between(after, until)
        labelled, labels = self._labelled(version_ids)
        found = self._fetch(self._heads_sql(where, labelled, rows), [*params, *labels])
        self._refuse_standstill(after, [row[:-2] for row in found[-1:]])
        decoded = self.codec.envelope_head
        if version_ids is None:
            return [Stored(row[:-2], as_bytes(row[-2]), row[-1]) for row in found]
        return [Stored(row[:-2], decoded(bytes(row[-2])), row[-1]) for row in found]

    def only(self, version_ids: Sequence[bytes] | None, stored: list[Stored]) -> list[Stored]:
        """Leave out the values under other versions that came along with `heads`."""
        if version_ids is None or len(version_ids) <= databases.IN_A_QUERY:
            return stored
        wanted = frozenset(version_ids)
        return [value for value in stored if value.head[VERSION_ID] in wanted]

    def values(self, keys: Sequence[Key]) -> dict[Key, Any]:
        """Return the whole values of some rows, as they are stored; or raise `KeysShared`.

        Args:
            keys: of the rows, in their order.
        """
        found = self._by_key([(*key, value) for key, value in self._of_each(keys, self.value)])
        return {key: value for key, (value,) in found.items()}

    def all_values(self, keys: Sequence[Key]) -> dict[Key, list[Any]]:
        """Return the same, and all of rows that share a key: tables that inherit have such."""
        values = defaultdict[Key, list[Any]](list)
        for key, value in self._of_each(keys, self.value):
            values[key].append(value)
        return values

    def begin_with(self, heads: Sequence[tuple[Key, bytes]]) -> list[bool]:
        """Whether there is a row with a key, and a value that begins so, for each of some pairs."""
        size = self.head_bytes
        found = self._of_each([key for key, _ in heads], f"substr({self.value}, 1, {size})")
        there = {(key, as_bytes(head)) for key, head in found}
        return [(key, head[:size]) in there for key, head in heads]

    def _labelled(self, version_ids: Sequence[bytes] | None) -> tuple[str, list[bytes]]:
        """Return the condition on a value `{}` that its label is one of some versions'."""
        if version_ids is None:
            return "", []
        codec, start = self.codec, self.codec.label_at.start + 1
        labels, length = [codec.marker], len(codec.marker)
        if len(version_ids) <= databases.IN_A_QUERY:
            labels, length = list(map(codec.label, version_ids)), codec.label_bytes
        return f"substr({{}}, {start}, {length}) IN ({self._marks(labels)})", labels

    def _heads_sql(self, where: str, labelled: str, rows: int) -> str:
        size = f"length({self.value})"
        is_wanted = f"{self.value} IS NOT NULL"
        if labelled:
            is_wanted = f"{size} >= {self.codec.shortest} AND {labelled.format(self.value)}"
        return (
            f"SELECT {self._read(self.keys)}, substr({self.value}, 1, {self.head_bytes}), {size} "
            f"FROM {self.table} WHERE {where} AND {is_wanted} "
            f"ORDER BY {self.key_list} LIMIT {rows:d}"
        )

    # Writing: changes are in the order of their keys, and there is one at least.

    def swap(self, changes: Sequence[Change], *, replaces_payload: bool) -> int:
        """Write new heads in front of the payloads, or whole values; return how many rows changed.

        A row whose value does not begin with the head any more is left as it is.

        Args:
            replaces_payload: whether a change has the whole new value.
        """
        if self.codec is not ENVELOPE:
            stored = self.codec.stored_head
            changes = [
                Change(key, stored(head), new if replaces_payload else stored(new))
                for key, head, new in changes
            ]
        heads = [change.head for change in changes]
        same = Same(self.name, heads, [True] * len(heads), self.head_bytes)
        return self._update(changes, [same], keeps_payload=not replaces_payload)

    def swap_values(self, changes: Sequence[Change]) -> int:
        """Write whole values in the place of whole ones; return how many rows changed.

        A row whose value is not exactly what a change has as its head is left as it is.
        """
        before = [change.head for change in changes]
        return self._update(changes, [Same(self.name, before, [False] * len(before), 0)])

    def swap_made(self, changes: Sequence[Change], compared: Sequence[str]) -> int:
        """Write values to rows that are as they were read; return how many rows changed.

        Args:
            changes: the new value may be None; the head is what was read of each column that is
                compared, as the driver gave it. Of an envelope its first 81 bytes are compared,
                with which no other one begins.
            compared: the names of these columns.
        """
        same = []
        for position, name in enumerate(compared):
            read = [change.head[position] for change in changes]
            found = [item[: layout.PAYLOAD_AT] if _is_envelope(item) else item for item in read]
            heads = list(map(_is_envelope, read))
            same.append(Same(self._quoted(name), found, heads, layout.PAYLOAD_AT))
        return self._update(changes, same)

    def write_values(self, changes: Sequence[Change]) -> int:
        """Write whole values to rows that are locked, and were looked at; return how many."""
        return self._update(changes, [])

    @abstractmethod
    def _update(
        self, changes: Sequence[Change], same: Sequence[Same], *, keeps_payload: bool = False
    ) -> int:
        """Write new values where columns are as they were; return how many rows changed.

        Args:
            changes: the changes; the head is not looked at.
            same: these columns.
            keeps_payload: whether the new value goes in front of what follows the head.
        """

    def largest(self, *, replaces_payload: bool) -> int | None:
        """Return how many bytes a value may have to be swapped; None is as many as it likes."""
        return None

    def limit_waiting(self, lock_seconds: float, seconds: float) -> None:
        """Have the rest of the transaction fail instead of waiting longer, for locks or at all.

        Not every database waits.
        """

    def lock_what_is_free(self, keys: Sequence[Key]) -> set[Key]:
        """Lock the rows that no other transaction has locked, without waiting; return their keys.

        Args:
            keys: of rows, in their order.
        """
        where, params = self._among(keys)
        free = f"SELECT {self._read(self.keys)} FROM {self.table} WHERE {where}{self._locking}"
        return {tuple(row) for row in self._fetch(self._impatiently(free), params)}


def _is_envelope(value: Any) -> bool:
    """Whether a value looks like an envelope, as the driver gave it."""
    is_long = isinstance(value, bytes | memoryview) and len(value) > layout.PAYLOAD_AT
    return is_long and bool(value[:1] == layout.FORMAT_VERSION)
