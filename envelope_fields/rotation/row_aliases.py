"""Which master key a row's values belong under: the field's `key=`, asked as for a write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.db import connections
from django.db.models import Model

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
            row = rows.get(key)
            if row is None:
                raise RowNotLoaded("The row could not be loaded to ask for the key of its values.")
            chosen = choose(row)
            if not isinstance(chosen, str):
                raise TypeError(f"key= returned {type(chosen).__name__} instead of an alias")
            return chosen

        return alias_of

    def _rows(self, keys: Sequence[Key]) -> dict[Key, Model]:
        """Load the rows, without their encrypted values, by their keys as the driver has them."""
        model, database = self._column.model, self._column.database
        connection = connections[database]
        encrypted = [
            field.name
            for field in model._meta.concrete_fields
            if isinstance(field, EncryptedFieldMixin)
        ]
        wanted = [self._as_python(key, connection) for key in keys]
        rows = model._base_manager.using(database).defer(*encrypted).filter(pk__in=wanted)
        return {self._as_stored(row, connection): row for row in rows}

    def _as_python(self, key: Key, connection: Any) -> Any:
        values = [field.to_python(item) for field, item in zip(self._keys, key, strict=True)]
        return values[0] if len(values) == 1 else tuple(values)

    def _as_stored(self, row: Model, connection: Any) -> Key:
        return tuple(
            field.get_db_prep_value(getattr(row, field.attname), connection) for field in self._keys
        )
