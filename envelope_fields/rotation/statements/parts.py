"""What statements are made of: names, keys, and conditions on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from envelope_fields.census.columns import Column
from envelope_fields.exceptions import EnvelopeError
from envelope_fields.rotation.statements.stored import Key


class KeysOutOfOrder(EnvelopeError):
    """The rows of a table cannot be gone through in the order of their primary keys."""

    def __init__(self, column: Column) -> None:
        super().__init__(
            f"The rows of {column.model._meta.label} cannot be gone through: the database driver "
            "gives primary keys of this type back as something else, which the database does not "
            "compare as it orders them. Save the rows instead."
        )


class Parts:
    """The parts of the statements about one encrypted column.

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

    @property
    def connection(self) -> BaseDatabaseWrapper:
        """This thread's connection to the column's database."""
        return connections[self.column.database]

    def _quoted(self, name: str) -> str:
        return self.connection.ops.quote_name(name).replace("%", "%%")

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
            return f"{self.keys[0]} IN ({marks(keys)})", [item for key in keys for item in key]
        row = f"({marks(self.keys)})"
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


def marks(items: Sequence[Any]) -> str:
    """Return as many marks of parameters as there are items."""
    return ", ".join(["%s"] * len(items))
