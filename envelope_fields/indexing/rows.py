"""The rows of an indexed table: in the order of their primary keys, a batch at a time.

One that several schemas have is several tables; an index is right when it is in all of them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import FieldError
from django.db import DatabaseError
from django.db.models import Model, Q, QuerySet

from envelope_fields.census.columns import Column, index_columns
from envelope_fields.census.indexes import ColumnNotThere, tables_of_index
from envelope_fields.databases import database
from envelope_fields.databases.errors import says_no_column
from envelope_fields.exceptions import EnvelopeError
from envelope_fields.fields.columns import of_envelopes
from envelope_fields.fields.index import rows as index_rows
from envelope_fields.fields.prepared import Unencrypted
from envelope_fields.jobs.job import displayed_key

ROWS_AT_ONCE = 250


class NoSuchIndex(EnvelopeError):
    """No blind index has the label that was given."""


@dataclass(frozen=True, slots=True)
class IndexedTable:
    """A blind index in one table: the field, and its column there."""

    index: Any
    column: Column

    @property
    def using(self) -> str:
        """The alias of the database."""
        return self.column.database

    @property
    def schema(self) -> str | None:
        """The schema of the table, where it takes that to tell it from others."""
        return self.column.schema

    @contextmanager
    def read(self) -> Iterator[None]:
        """Have queries of Django read this table.

        Raises:
            RowsHidden: rows would be hidden from them.
            ColumnNotThere: the table lacks the column of the index.
        """
        ask = database(self.using)
        try:
            ask.refuse_hidden(self.column.table_sql)
            with ask.seeing_all_rows(), self.column.found_by_name():
                yield
        except DatabaseError as error:
            if not says_no_column(error):
                raise
            raise ColumnNotThere(
                f"{self.column.location} is not there in the database {self.using!r} yet. Run "
                "`python manage.py migrate`, in every schema."
            ) from error

    def count(self) -> int:
        """Count its rows; errors as above."""
        column = self.column
        stored = f"stored.{column.column_sql}"  # or SQLite takes the name of no column for a text
        with self.read():
            [[rows, _]] = database(column.database).fetch(
                f"SELECT count(*), count({stored}) FROM {column.table_sql} AS stored"  # noqa: S608
            )
        return int(rows)

    @property
    def made_of(self) -> list[str]:
        """The columns of the values that it is made of."""
        return [str(field.column) for field in self.index.source_fields]

    @property
    def compared(self) -> list[str]:
        """The columns that a row is to have as they were read, when its index is written."""
        return [str(self.index.column), *self.made_of]

    def names(self, *, with_index: bool = True) -> list[str]:
        """Return the names of the fields that it takes to make the index of a row."""
        index = self.index
        names = [*index.scope, *([index.name] if with_index else [])]
        for source in index.sources:
            # Without the columns that it is bound to, a value would not be loaded.
            names += [source.field.name, *(field.name for field in source.field.bound_fields)]
        return list(dict.fromkeys([*names, *(field.name for field in index.model._meta.pk_fields)]))


def location(database: str, schema: str | None) -> str:
    """Say where a table is: the database, and the schema where there are several."""
    return f"{database!r}" if schema is None else f"{database!r}, schema {schema!r}"


def find_indexes(labels: Iterable[str] = ()) -> list[IndexedTable]:
    """Return the tables of the blind indexes that are named, or of all.

    Args:
        labels: `app_label.model.field` of their columns, in any case.

    Raises:
        NoSuchIndex: one is not there.
    """
    fields: list[Any] = [column.field for column in index_columns()]
    found = {index.field_path: index for index in fields}
    wanted = [label.lower() for label in labels] or list(found)
    for label in wanted:
        if label not in found:
            raise NoSuchIndex(
                f"{label!r} is not a blind index. The blind indexes are: {_listed(label, found)}."
            )
    indexes = [found[label] for label in dict.fromkeys(wanted)]
    tables = [IndexedTable(index, each) for index in indexes for each in tables_of_index(index)]
    if wanted and not tables:
        raise NoSuchIndex(
            f"{', '.join(wanted)}: there is no table in a schema that ENVELOPE_FIELDS names."
        )
    return tables


def _listed(label: str, known: Iterable[str]) -> str:
    """List the labels of indexes: those that begin as one does, and how many more there are."""
    known, parts = sorted(known), label.split(".")
    starts = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    alike = ([each for each in known if start and each.startswith(start)] for start in starts)
    found = next(filter(None, alike), known)
    others = len(known) - len(found)
    return ", ".join(found or ["none"]) + (f", and {others} more" if others else "")


class Row:
    """A row, as it was read: `stored` is what is in the index, where that was read."""

    __slots__ = ("_instance", "_table", "key", "stored")

    def __init__(self, table: IndexedTable, instance: Model) -> None:
        self._table, self._instance = table, instance
        self.key = instance.pk
        stored = vars(instance).get(table.index.attname)
        self.stored = None if stored is None else bytes(stored)

    @property
    def name(self) -> str:
        """Its primary key, for people."""
        return displayed_key(self.key if isinstance(self.key, tuple) else (self.key,))

    @property
    def columns(self) -> tuple[Any, ...]:
        """What it has in the columns that are `compared`."""
        return (self.stored, *map(self._stored, self._table.index.source_fields))

    def _stored(self, field: Any) -> Any:
        held = vars(self._instance)[field.attname]
        return getattr(held, "envelope", held)

    def _opened(self, field: Any) -> Unencrypted:
        contexts = field.contexts_of(field.row_of(self._instance)) if field.is_bound else None
        return opened(field, self._stored(field), contexts)

    def value_of(self, field: Any) -> Any:
        """Return what it has in a column that is not encrypted."""
        return getattr(self._instance, field.attname)

    def term(self, index: Any = None) -> Any:
        """Return what its index is made of, or another one; None where there is nothing to index.

        Raises:
            KeyAccessDenied: the principal may not re-encrypt the values.
            EnvelopeError: a value does not open, or has no normal form that it could have.
        """
        return made_term(index or self._table.index, self._opened, self._instance)


def opened(field: Any, stored: Any, contexts: Sequence[bytes] | None = None) -> Unencrypted:
    """Return the value of a field, prepared; arguments and errors as for `read_to_move`."""
    return Unencrypted(None if stored is None else field.read_to_move(stored, contexts), None)


def made_term(
    index: Any, open_value: Callable[[Any], Unencrypted], instance: Model | None = None
) -> Any:
    """Return what an index is made of in a row, or None; errors as those of `Row.term`.

    Args:
        open_value: given a field, returns its value, prepared.
        instance: the row, where the index depends on other columns.
    """
    try:
        values = [open_value(source.field) for source in index.sources]
        return index_rows.term_of(index, values, instance)
    except (TypeError, ValueError, FieldError) as error:  # they may show the value
        cause = type(error).__name__
    raise no_normal_form(index, cause)


def no_normal_form(index: Any, cause: str) -> EnvelopeError:
    """Return the error for a value that its normaliser, or its field, does not take."""
    return EnvelopeError(f"{index}: the value has no normal form ({cause}).")


def batches(
    table: IndexedTable,
    *among: Q,
    with_index: bool = True,
    also: Iterable[str] = (),
    **conditions: Any,
) -> Iterator[list[Row]]:
    """Go through the rows of a table, past managers that hide some.

    No transaction is open between two batches.

    Args:
        *among: conditions that they are to fulfil.
        with_index: whether to read the index, whose column may not be there yet.
        also: the names of further fields to load.
        **conditions: what else they are to fulfil.

    Raises:
        RowsHidden: rows are hidden from this role.
        ColumnNotThere: the table lacks the column of the index.
        DatabaseError: the database failed.
    """
    index, last = table.index, None
    rows: QuerySet[Model] = QuerySet(index.model, using=table.using)
    rows = of_envelopes(rows).filter(*among, **conditions)
    rows = rows.only(*table.names(with_index=with_index), *also).order_by("pk")
    while True:
        behind = rows if last is None else rows.filter(pk__gt=last)
        with table.read():
            found = [Row(table, instance) for instance in behind[:ROWS_AT_ONCE]]
        if not found:
            return
        last = found[-1].key
        yield found
