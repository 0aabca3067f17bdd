"""Which master key a row's values belong under: the field's `key=`, asked as for a write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NoReturn

from django.db import connections
from django.db.models import Field, Model, QuerySet

from envelope_fields.census.columns import Column
from envelope_fields.databases import database
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
        relation = self._column.relation
        if relation.schema is None or relation.is_visible:
            return partial(self._alias_of, self._rows(keys))
        # In the schema, since what the callable asks is there, too. All are asked at once, so
        # that no other query goes there.
        with database(self._column.database).within(relation.schema):
            ask = partial(self._alias_of, self._rows(keys))
            answers = {key: _answer(ask, key) for key in keys}
        return lambda key: answers[key]()

    def _alias_of(self, rows: dict[Key, Model], key: Key) -> str:
        row = rows.get(self._as_loaded(key))
        if row is None:
            raise RowNotLoaded("The row could not be loaded to ask for the key of its values.")
        assert callable(self._key)  # noqa: S101 - or nobody asks
        chosen = self._key(row)
        if not isinstance(chosen, str):
            raise TypeError(f"key= returned {type(chosen).__name__} instead of an alias")
        return chosen

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


def _answer(ask: Callable[[Key], str], key: Key) -> Callable[[], str]:
    """Return what gives the answer about a key, or raises it, later."""
    try:
        alias = ask(key)
    except Exception as error:  # a key= of the project may raise anything
        return partial(_raise, error)
    return lambda: alias


def _raise(error: Exception) -> NoReturn:
    raise error
