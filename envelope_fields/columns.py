"""The columns that hold envelopes: each once, whatever the number of models that map it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, cast

from django.apps import apps
from django.db import connections, router
from django.db.models import Field, Model

from envelope_fields.conf import configuration
from envelope_fields.databases import UNLOCATED, Relation
from envelope_fields.databases import database as database_of
from envelope_fields.fields import EncryptedFieldMixin


@dataclass(frozen=True, slots=True)
class Column:
    """The column of an encrypted field in one database.

    Attributes:
        database: the alias in `DATABASES`.
        model: the model that owns the column.
        field: its field.
        table_sql, column_sql: their names in the database, quoted for SQL.
        relation: what the catalogue of the database says of the table, where it was asked.
        schema: the schema of the table; None where the database has none, or all its encrypted
            columns are in one and are found without its name.
    """

    database: str
    model: type[Model]
    field: Field[Any, Any]
    table_sql: str
    column_sql: str
    relation: Relation = UNLOCATED
    schema: str | None = None

    def __str__(self) -> str:
        return f"{self.model._meta.label}.{self.field.name}"

    @property
    def place(self) -> str:
        """The table and its column, with the schema where there is one, for messages."""
        if self.relation is UNLOCATED:
            return f"{self.model._meta.db_table}.{self.field.column}"
        return str(self.relation)

    @property
    def encrypted_field(self) -> EncryptedFieldMixin:
        """The field, as what it is besides a field of Django."""
        return cast("EncryptedFieldMixin", self.field)


def stored_columns(database: str | None = None) -> Iterator[Column]:
    """Find the columns of all encrypted fields, in every schema that has their table.

    Args:
        database: look in this one alone.

    Raises:
        Error: a database cannot be looked at.
    """
    return located(encrypted_columns(database))


def located(columns: Iterable[Column]) -> Iterator[Column]:
    """Find where the tables of columns are: one that several schemas have is several columns.

    One that no schema has is itself. What `ENVELOPE_FIELDS["SCHEMAS"]` leaves out is left out.

    Args:
        columns: those of `encrypted_columns`, database by database.

    Raises:
        Error: a database cannot be looked at.
    """
    for alias, declared in groupby(columns, key=lambda column: column.database):
        found = list(_located(alias, list(declared)))
        schemas = {column.relation.schema for column in found if column.relation is not UNLOCATED}
        if len(schemas) > 1 or not all(column.relation.is_visible for column in found):
            found = [replace(column, schema=column.relation.schema) for column in found]
        yield from found


def _located(alias: str, declared: list[Column]) -> Iterator[Column]:
    database = database_of(alias)
    found: defaultdict[tuple[str, str], list[Relation]] = defaultdict(list)
    for relation in database.relations([(each.table_sql, each.column_sql) for each in declared]):
        found[relation.table, relation.column].append(relation)
    wanted = configuration().schemas.of(alias)
    for column in declared:
        relations = found[database.name(column.table_sql), database.name(column.column_sql)]
        # A name that has its schema with it means no other.
        *schema, _ = database.names(column.table_sql)
        relations = [each for each in relations if not schema or [each.schema] == schema]
        if not relations:
            yield column
        together = {each.oid for each in relations}
        for each in relations:
            # A partition that lies in another schema is counted with its table.
            is_part = not together.isdisjoint(each.ancestors)
            if not is_part and (each.schema is None or each.schema in wanted):
                table_sql = database.quote(each.schema, each.table)
                yield replace(column, table_sql=table_sql, relation=each)


def encrypted_columns(database: str | None = None) -> Iterator[Column]:
    """Find the columns of all encrypted fields in the databases where their models may live.

    The routers' `allow_migrate` and `db_for_write` decide where that is; the table itself may not
    be there yet, or be in several schemas: no database is asked.

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


def _may_live_in(alias: str, model: type[Model]) -> bool:
    """Whether the routers let a model's rows be in a database.

    Where its tables were not made by Django, they forbid migrations and write there all the same.
    """
    return bool(router.allow_migrate_model(alias, model)) or router.db_for_write(model) == alias


def _encrypted_fields() -> list[tuple[type[Model], Field[Any, Any]]]:
    """Return the fields by their owners: a managed model comes before one that mirrors it."""
    models = apps.get_models(include_auto_created=True, include_swapped=True)
    return [
        (model, field)
        for model in sorted(models, key=lambda model: not model._meta.managed)
        if not model._meta.proxy
        for field in model._meta.local_concrete_fields
        if isinstance(field, EncryptedFieldMixin)
    ]
