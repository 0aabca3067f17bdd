"""The columns that hold encrypted values, each once, and what their bytes mean.

The census asks a column's codec which key version a stored value names, jobs ask it by what values
are found and which bytes a rewrap replaces. An envelope is one kind of value; a column may hold
others.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, TypeVar, cast

from django.apps import apps
from django.db import Error, connections
from django.db.models import CharField, Field, Model, TextField

from envelope_fields.conf import configuration
from envelope_fields.crypto.blind_index import INDEX_CODEC
from envelope_fields.crypto.format import ENVELOPE, Codec
from envelope_fields.databases import (
    UNLOCATED,
    Relation,
    database as database_of,
    is_configured,
    may_live_in,
)
from envelope_fields.exceptions import EnvelopeError
from envelope_fields.fields import EncryptedFieldMixin
from envelope_fields.fields.index.macs import is_index
from envelope_fields.fields.keys import RowKey
from envelope_fields.fields.legacy.reading import MARK
from envelope_fields.models import DEFAULT_ALIAS


class CensusFailed(EnvelopeError):
    """A column could not be counted, so the census would not be complete."""


class NoSuchField(EnvelopeError):
    """No encrypted field has the name that was given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table in one database.

    Attributes:
        schema: its schema; None where the database has none, or all that are looked for are in one
            and are found without its name.
    """

    database: str  # the alias in `DATABASES`
    table_sql: str  # quoted
    relation: Relation = UNLOCATED  # what the catalogue says of it, where that was asked
    schema: str | None = None

    def found_by_name(self) -> AbstractContextManager[None]:
        """Have the table be what its name means in queries of Django."""
        if self.relation.schema is None or self.relation.is_visible:
            return nullcontext()
        return database_of(self.database).within(self.relation.schema)


@dataclass(frozen=True, slots=True, kw_only=True)
class Column(Table):
    """The column of an encrypted field, or of a blind index."""

    model: type[Model]  # that owns the column
    field: Field[Any, Any]
    column_sql: str  # quoted
    codec: Codec = ENVELOPE  # what its bytes mean

    def __str__(self) -> str:
        return f"{self.model._meta.label}.{self.field.name}"

    @property
    def formats(self) -> dict[bytes, str]:
        """What else than envelopes the field reads: packages, by what their values begin with."""
        readers: tuple[Any, ...] = getattr(self.field, "legacy_formats", ())
        if self.beside_sql is not None:
            some = readers if self.prefix_beside else readers[:1]
            return {MARK * number: each.package for number, each in enumerate(some, 1)}
        return {each.first_byte: each.package for each in readers}

    @property
    def prefix_beside(self) -> str:
        """What a package's texts begin with, where plaintext is beside them; else nothing."""
        readers = self.encrypted_field.legacy_formats
        is_text = isinstance(self.encrypted_field.plain_field, CharField | TextField)
        return str(readers[0].prefix) if is_text and len(readers) > 1 else ""

    @property
    def beside_sql(self) -> str | None:
        """The column in which another package's values are, quoted; None where there is none."""
        if getattr(self.field, "converts", None) is None or not self.encrypted_field.reads_beside:
            return None
        plain: Any = self.encrypted_field.plain_field
        return str(connections[self.database].ops.quote_name(plain.column))

    def beside_groups_sql(self) -> str:
        """Return what counts another package's values, in a column beside the encrypted one."""
        if self.beside_sql is None:
            return ""
        ask, old = database_of(self.database), f"stored.{self.beside_sql}"
        mark, *in_clear = map(ask.literal, self.formats)
        label, prefix = mark, self.prefix_beside
        if in_clear:
            begins = f"substr({ask.EXACTLY % {'expressions': old}}, 1, {len(prefix)})"
            label = f"CASE WHEN {begins} = '{prefix}' THEN {mark} ELSE {in_clear[0]} END"
        return (
            f" UNION ALL SELECT {label}, count(*) FROM {self.table_sql} AS stored "  # noqa: S608
            f"WHERE {old} IS NOT NULL{' GROUP BY 1' if in_clear else ''}"
        )

    @property
    def names(self) -> tuple[str, str, str, str]:
        """By what it is found again: its database, schema, model and field."""
        schema = self.relation.schema or ""
        return (self.database, schema, self.model._meta.label, self.field.name)

    @property
    def location(self) -> str:
        """The table and its column, with the schema where there is one, for messages."""
        if self.relation is UNLOCATED:
            return f"{self.model._meta.db_table}.{self.field.column}"
        return str(self.relation)

    @property
    def encrypted_field(self) -> EncryptedFieldMixin:
        """The field, as what it is besides a field of Django."""
        return cast("EncryptedFieldMixin", self.field)


def located(columns: Iterable[Column]) -> Iterator[Column]:
    """Find where the tables of columns are: one that several schemas have is several columns.

    One that no schema has is itself. What `ENVELOPE_FIELDS["SCHEMAS"]` leaves out is left out.

    Args:
        columns: those of `encrypted_columns`, database by database.

    Raises:
        Error: a database cannot be looked at.
    """
    for alias, each_declared in groupby(columns, key=lambda column: column.database):
        database, declared = database_of(alias), list(each_declared)
        names = [(each.table_sql, each.column_sql) for each in declared]
        keys = [(database.name(table), database.name(column)) for table, column in names]
        found: defaultdict[tuple[str, str], list[Relation]] = defaultdict(list)
        for relation in database.relations(names):
            found[relation.table, relation.column].append(relation)
        yield from in_schemas(zip(declared, (found[key] for key in keys), strict=True))


def tables_of(columns: Iterable[Column]) -> list[Column]:
    """Find where the tables of columns are, as `located` does.

    Raises:
        CensusFailed: a database could not be asked.
    """
    try:
        return list(located(columns))
    except Error as error:
        raise CensusFailed(
            "The tables of encrypted fields could not be looked up in a database "
            f"({type(error).__name__}). Is it reachable?"
        ) from error


def find_column(database: str, schema: str, model: str, field: str) -> Column:
    """Return a column by its `names`, where it was found before.

    Raises:
        NoSuchField: the model or its field is not there any more, or the schema is not.
        Error: the database cannot be looked at.
    """
    named = _fields(lambda each: each.name == field and (_is_encrypted(each) or is_index(each)))
    owned = [(owner, each) for owner, each in named if owner._meta.label == model]
    for column in located(columns_of(owned, database)):
        if column.names[1] == schema:
            return column
    where = f"the schema {schema!r} of the database" if schema else "the database"
    raise NoSuchField(
        f"{model}.{field} is not a column of ours in {where} {database!r} any more. Cancel the "
        "run and start another."
    )


_Table = TypeVar("_Table", bound=Table)


def in_schemas(found: Iterable[tuple[_Table, list[Relation]]]) -> list[_Table]:
    """Return the tables that databases have found, with their schemas where there are several."""
    located = [there for each, relations in found for there in _in_schemas(each, relations)]
    schemas = {each.relation.schema for each in located if each.relation is not UNLOCATED}
    if len(schemas) > 1 or not all(each.relation.is_visible for each in located):
        return [replace(each, schema=each.relation.schema) for each in located]
    return located


def _in_schemas(table: _Table, relations: list[Relation]) -> Iterator[_Table]:
    database = database_of(table.database)
    # A name that has its schema with it means no other.
    *schema, _ = database.names(table.table_sql)
    relations = [each for each in relations if not schema or [each.schema] == schema]
    if not relations:
        yield table
        return
    wanted = configuration().schemas.of(table.database)
    relations = [each for each in relations if each.schema is None or each.schema in wanted]
    together = {each.oid for each in relations}
    for each in relations:
        # A partition that lies in another schema is counted with its table.
        if together.isdisjoint(each.ancestors):
            table_sql = database.quote(each.schema, each.table)
            yield replace(table, table_sql=table_sql, relation=each)


def encrypted_columns(database: str | None = None) -> Iterator[Column]:
    """Find the columns of all encrypted fields in the databases where their models may live.

    The routers' `allow_migrate` and `db_for_write` decide where that is; the table itself may not
    be there yet, or be in several schemas: no database is asked.

    Args:
        database: look in this one alone.
    """
    return columns_of(_fields(_is_encrypted), database)


def index_columns(database: str | None = None) -> Iterator[Column]:
    """Find the columns of all blind indexes, as `encrypted_columns` does."""
    return columns_of(_fields(is_index), database)


def stored_columns(database: str | None = None) -> list[Column]:
    """Find everything that the census counts: encrypted columns and indexes, by database."""
    found = [*encrypted_columns(database), *index_columns(database)]
    return sorted(found, key=lambda column: column.database)


def columns_of(
    fields: Collection[tuple[type[Model], Any]], database: str | None = None
) -> Iterator[Column]:
    """Find the columns of fields, each with its model, as `encrypted_columns` does."""
    for alias in connections if database is None else [database]:
        connection = connections[alias]
        if not is_configured(connection):
            continue
        quote, seen = connection.ops.quote_name, set()
        for model, field in fields:
            names = quote(model._meta.db_table), quote(str(field.column))
            if names not in seen and may_live_in(alias, model):
                seen.add(names)
                yield Column(
                    database=alias, model=model, field=field,
                    table_sql=names[0], column_sql=names[1],
                    codec=ENVELOPE if _is_encrypted(field) else INDEX_CODEC,
                )  # fmt: skip


def named_by_fields(alias: str) -> bool:
    """Whether an encrypted field names the master key of an alias, or of such aliases.

    Those that a function returns cannot be known beforehand.
    """
    return any(_names(field.key, alias) for _, field in _fields(_is_encrypted))


def _names(key: Any, alias: str) -> bool:
    if isinstance(key, RowKey):
        return key.names(alias)
    # A database may take two aliases that differ in case for the same.
    return (DEFAULT_ALIAS if key is None else str(key)).lower() == alias.lower()


def _is_encrypted(field: Any) -> bool:
    return isinstance(field, EncryptedFieldMixin)


def _fields(wanted: Callable[[Any], bool]) -> list[tuple[type[Model], Any]]:
    """Return fields by their owners: a managed model comes before one that mirrors it."""
    models = apps.get_models(include_auto_created=True, include_swapped=True)
    return [
        (model, field)
        for model in sorted(models, key=lambda each: not each._meta.managed)
        if not model._meta.proxy
        for field in model._meta.local_concrete_fields
        if wanted(field)
    ]
