"""Which master key a row's values belong under: the field's `key=`, asked as for a write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.db import connections
from django.db.models import Field, Model, QuerySet

from envelope_fields.columns import Column
from envelope_fields.exceptions import EnvelopeError
from envelope_fields.fields import EncryptedFieldMixin
from envelope_fields.models import DEFAULT_ALIAS
from envelope_fields.rotation.statements import Key


class RowNotLoaded(EnvelopeError):
    """The row is gone, or Django did not find it by its primary key."""


class RowAliases:
    """The aliases that the rows of a column write under.

    Attributes:
        differ: whether each row has its own.
    """

    def __init__(self, column: Column) -> None:
        self._column = column
        self._key = column.encrypted_field.key
        self._keys = column.model._meta.pk_fields
        self.differ = callable(self._key)

    def of(self, keys: Sequence[Key]) -> Callable[[Key], str]:
        """Return what tells the alias for one of these primary keys.

        It raises `RowNotLoaded`, `TypeError`, or what `key=` raises.
        """
        if not callable(self._key):
            alias = DEFAULT_ALIAS if self._key is None else self._key
            return lambda key: alias
        rows, choose = self._rows(keys), self._key

        def alias_of(key: Key) -> str:
            row = rows.get(self._as_loaded(key))
            if row is None:
                raise RowNotLoaded("The row could not be loaded to ask for the key of its values.")
            chosen = choose(row)
            if not isinstance(chosen, str):
                raise TypeError(f"key= returned {type(chosen).__name__} instead of an alias")
            return chosen

        return alias_of

    def _rows(self, keys: Sequence[Key]) -> dict[Key, Model]:
        """Load the rows, without their encrypted values and past managers that hide some."""
        encrypted = [
            field.name
            for field in self._column.model._meta.concrete_fields
            if isinstance(field, EncryptedFieldMixin)
        ]
        wanted = [self._as_loaded(key) for key in keys]
        rows: QuerySet[Model] = QuerySet(self._column.model, using=self._column.database)
        found = rows.defer(*encrypted).filter(
            pk__in=wanted if len(self._keys) > 1 else [key for (key,) in wanted]
        )
        return {tuple(getattr(row, field.attname) for field in self._keys): row for row in found}

    def _as_loaded(self, key: Key) -> Key:
        """Return a key of the driver as Django makes it of a loaded row."""
        return tuple(map(self._converted, self._keys, key))

    def _converted(self, field: Field[Any, Any], item: Any) -> Any:
        connection = connections[self._column.database]
        column = field.get_col(self._column.model._meta.db_table)
        converters = connection.ops.get_db_converters(column) + column.get_db_converters(connection)
        for convert in converters:
            item = convert(item, column, connection)
        return item
