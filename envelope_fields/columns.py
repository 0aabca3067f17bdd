"""The columns that hold envelopes: each once, whatever the number of models that map it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from django.apps import apps
from django.db import connections, router
from django.db.models import Field, Model

from envelope_fields.fields import EncryptedFieldMixin
from envelope_fields.fields.row_keys import RowKey
from envelope_fields.models import DEFAULT_ALIAS


@dataclass(frozen=True, slots=True)
class Column:
    """The column of an encrypted field in one database.

    Attributes:
        database: the alias in `DATABASES`.
        model: the model that owns the column.
        field: its field.
        table_sql, column_sql: their names in the database, quoted for SQL.
    """

    database: str
    model: type[Model]
    field: Field[Any, Any]
    table_sql: str
    column_sql: str

    def __str__(self) -> str:
        return f"{self.model._meta.label}.{self.field.name}"

    @property
    def encrypted_field(self) -> EncryptedFieldMixin:
        """The field, as what it is besides a field of Django."""
        return cast("EncryptedFieldMixin", self.field)


def encrypted_columns(database: str | None = None) -> Iterator[Column]:
    """Find the columns of all encrypted fields in the databases where their models may live.

    The routers' `allow_migrate` and `db_for_write` decide where that is; the table itself may not
    be there yet.

    Args:
        database: look in this one alone.
    """
    for alias in connections if database is None else [database]:
        connection = connections[alias]
        if connection.vendor == "unknown":  # `DATABASES["default"] = {}`, as Django documents it
            continue
        seen = set()
        for model, field in _encrypted_fields():
            quote = connection.ops.quote_name
            names = quote(model._meta.db_table), quote(str(field.column))
            if names not in seen and _may_live_in(alias, model):
                seen.add(names)
                yield Column(alias, model, field, *names)


def named_by_fields(alias: str) -> bool:
    """Whether an encrypted field names the master key of an alias, or of such aliases.

    Those that a function returns cannot be known beforehand.
    """
    return any(_names(field.key, alias) for _, field in _encrypted_fields())


def _names(key: Any, alias: str) -> bool:
    if isinstance(key, RowKey):
        return key.names(alias)
    # A database may take two aliases that differ in case for the same.
    return (DEFAULT_ALIAS if key is None else str(key)).lower() == alias.lower()


def _may_live_in(alias: str, model: type[Model]) -> bool:
    """Whether the routers let a model's rows be in a database.

    Where its tables were not made by Django, they forbid migrations and write there all the same.
    """
    return bool(router.allow_migrate_model(alias, model)) or router.db_for_write(model) == alias


def _encrypted_fields() -> list[tuple[type[Model], Any]]:
    """Return the fields by their owners: a managed model comes before one that mirrors it."""
    models = apps.get_models(include_auto_created=True, include_swapped=True)
    return [
        (model, field)
        for model in sorted(models, key=lambda model: not model._meta.managed)
        if not model._meta.proxy
        for field in model._meta.local_concrete_fields
        if isinstance(field, EncryptedFieldMixin)
    ]
