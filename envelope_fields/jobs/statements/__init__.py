"""The SQL of jobs: what is read of a column, and how it is swapped; one vendor a module.

Mostly what is in front of the payloads is read, in the order of the primary keys.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from envelope_fields.census.codecs import ENVELOPE
from envelope_fields.census.columns import Column
from envelope_fields.exceptions import EnvelopeError
from envelope_fields.jobs.job import VERSION_ID, Change, Key, Stored
from envelope_fields.jobs.statements.made import MadeStatements
from envelope_fields.jobs.statements.pairs import PairStatements
from envelope_fields.jobs.statements.values import ValueStatements, as_bytes

# By the vendor's name, which is that of a module here.
_OF_VENDOR = {"postgresql": "PostgreSQL", "mysql": "MySQL", "sqlite": "SQLite"}

LABELS_IN_A_QUERY = 500  # more are picked out in Python: that many parameters help no database


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


class KeysOutOfOrder(EnvelopeError):
    """The rows of a table cannot be gone through in the order of their primary keys."""

    def __init__(self, column: Column) -> None:
        super().__init__(
            f"The rows of {column.model._meta.label} cannot be gone through: the database driver "
            "gives primary keys of this type back as something else, which the database does not "
            "compare as it orders them. Save the rows instead."
        )


class Statements(ValueStatements, PairStatements, MadeStatements):
    """The statements about one encrypted column. Keys go back to the driver as they came from it.

    Args:
        column: the column.
    """

    def __init__(self, column: Column) -> None:
        self.column = column
        self.codec = column.codec
        self.head_bytes = column.codec.head_bytes
        # Parameters go with each statement, so a percent sign in a name is written twice.
        self.table = column.table_sql.replace("%", "%%")
        self.name = column.column_sql.replace("%", "%%")
        self.value = f"{self.table}.{self.name}"
        self.keys = [
            f"{self.table}.{self._quoted(str(field.column))}"
            for field in column.model._meta.pk_fields
        ]
        self.key_list = ", ".join(self.keys)
        self.aliases = [f"key{number}" for number in range(1, len(self.keys) + 1)]

    @property
    def connection(self) -> BaseDatabaseWrapper:
        return connections[self.column.database]

    # Reading

    def end_of_range(self, after: Key | None, rows: int) -> Key | None:
        """Return the key of the last of the next `rows` rows behind `after`, None where none is."""
        where, params = self._between(after, None)
        ahead = [f"ahead.{alias}" for alias in self.aliases]
        found = self._fetch(
            f"SELECT {self._read(ahead)} FROM (SELECT {self.aliased_keys} FROM {self.table} "
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
        if version_ids is None or len(version_ids) <= LABELS_IN_A_QUERY:
            return stored
        wanted = frozenset(version_ids)
        return [value for value in stored if value.head[VERSION_ID] in wanted]

    def values(self, keys: Sequence[Key]) -> dict[Key, Any]:
        """Return the whole values of some rows, as they are stored.

        Args:
            keys: of the rows, in their order.
        """
        where, params = self._among(keys)
        found = self._fetch(
            f"SELECT {self._read(self.keys)}, {self.value} FROM {self.table} WHERE {where}",
            params,
        )
        return {tuple(row[:-1]): row[-1] for row in found}

    def _labelled(self, version_ids: Sequence[bytes] | None) -> tuple[str, list[bytes]]:
        """Return the condition on a value `{}` that its label is one of some versions'."""
        if version_ids is None:
            return "", []
        codec, start = self.codec, self.codec.label_at.start + 1
        labels, length = [codec.marker], len(codec.marker)
        if len(version_ids) <= LABELS_IN_A_QUERY:
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

    # Writing

    def largest(self, *, replaces_payload: bool) -> int | None:
        """Return how many bytes a value may have to be swapped; None is as many as it likes."""
        return None

    def swap(self, changes: Sequence[Change], *, replaces_payload: bool) -> int:
        """Write new heads in front of the payloads, or whole values; return how many rows changed.

        A row whose value does not begin with the head any more is left as it is.

        Args:
            changes: at least one, in the order of their keys.
            replaces_payload: whether a change has the whole new value.
        """
        if self.codec is not ENVELOPE:
            stored = self.codec.stored_head
            changes = [
                Change(key, stored(head), new if replaces_payload else stored(new))
                for key, head, new in changes
            ]
        return self._swap(changes, replaces_payload=replaces_payload)

    @abstractmethod
    def _swap(self, changes: Sequence[Change], *, replaces_payload: bool) -> int:
        """Swap heads as the column stores them."""

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
        found = self._fetch(self._impatiently(free), params)
        return {tuple(row) for row in found}

    @property
    def _locking(self) -> str:
        """What has a SELECT lock rows, and leave out those that are locked where it can."""
        features = self.connection.features
        if features.has_select_for_update_skip_locked:
            return " FOR UPDATE SKIP LOCKED"
        return " FOR UPDATE" if features.has_select_for_update else ""  # it waits as an UPDATE does

    # What statements are made of

    def _quoted(self, name: str) -> str:
        return self.connection.ops.quote_name(name).replace("%", "%%")

    def _impatiently(self, statement: str) -> str:
        return statement

    def _marks(self, items: Sequence[Any]) -> str:
        return ", ".join(["%s"] * len(items))

    def _refuse_standstill(self, after: Key | None, last: Sequence[Sequence[Any]]) -> None:
        if last and after == tuple(last[0]):
            raise KeysOutOfOrder(self.column)

    def _between(self, after: Key | None, until: Key | None) -> tuple[str, list[Any]]:
        conditions, params = ["1 = 1"], []
        if after is not None:
            conditions.append(self._compared(self.keys, ">"))
            params.extend(self._operands(after))
        if until is not None:
            conditions.append(self._compared(self.keys, "<="))
            params.extend(self._operands(until))
        return " AND ".join(conditions), params

    def _compared(self, keys: Sequence[str], operator: str) -> str:
        """Return the condition that compares the columns of a key with parameters."""
        return f"(({', '.join(keys)}) {operator} ({', '.join(self._key_marks)}))"

    @property
    def _key_marks(self) -> Sequence[str]:
        return ["%s"] * len(self.keys)

    def _operands(self, key: Key) -> list[Any]:
        return list(key)

    def _among(self, keys: Sequence[Key]) -> tuple[str, list[Any]]:
        if len(self.keys) == 1:
            return f"{self.keys[0]} IN ({self._marks(keys)})", [
                item for key in keys for item in key
            ]
        row = f"({self._marks(self.keys)})"
        rows = ", ".join([row] * len(keys))
        return f"({self.key_list}) IN ({rows})", [item for key in keys for item in key]

    @property
    def aliased_keys(self) -> str:
        """The key columns under names that no two of them share."""
        return ", ".join(map("{} AS {}".format, self.keys, self.aliases))

    def _read(self, keys: Sequence[str]) -> str:
        return ", ".join(keys)

    def _fetch(self, sql: str, params: Sequence[Any]) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(sql, params)
            return list(cursor.fetchall())
