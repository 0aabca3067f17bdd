"""Uniqueness by an index: which rows would collide, and whether a database keeps them apart.

They are found before anything is written, by digests under a key that lasts as long as the look.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.db import connections
from django.db.models import Q

from envelope_fields.crypto.blind_index import value_part
from envelope_fields.databases.tables import UniqueIndex, unique_indexes
from envelope_fields.exceptions import EnvelopeError, IndexNotReady
from envelope_fields.fields.index.macs import is_index
from envelope_fields.fields.index.uniqueness import declared as declared_constraints
from envelope_fields.indexing.rows import IndexedTable, Row, batches, location
from envelope_fields.jobs.job import stops


@dataclass(frozen=True, slots=True)
class Collision:
    """Two rows whose values have the same normal form; nothing of the values.

    Attributes:
        index: `app_label.Model.field`.
        database: the alias in `DATABASES`.
        schema: of the table; None where there is one schema.
        row, other: their primary keys, as text.
        constraint: the name of the `IndexedUnique` by which they collide; empty for the values of
            the index alone.
    """

    index: str
    database: str
    schema: str | None
    row: str
    other: str
    constraint: str = ""


@dataclass(slots=True)
class Looked:
    """What became of a batch: how many rows have a normal form, and which collide or failed."""

    values: int
    collisions: list[Collision]
    failed: list[tuple[str, str]]


def collisions(table: IndexedTable) -> Iterator[Looked]:
    """Look for values with the same normal form, batch by batch. Nothing is written.

    First among the values of the index; then, for each constraint that it is a part of, among the
    rows that this is about, together with their other columns. Each later row is reported with the
    first one. It takes about 150 bytes of memory a row.

    Raises:
        EnvelopeError, ImproperlyConfigured: no value can be opened.
        RowsHidden: rows are hidden from this role.
        DatabaseError: the database failed.
    """
    declared = [each for each in uniqueness_of(table.index, table.using) if each.name]
    for kept in (Uniqueness("", (table.index,)), *declared):
        yield from _among(table, kept)


def _among(table: IndexedTable, kept: Uniqueness) -> Iterator[Looked]:
    key, first = os.urandom(32), dict[Hashable, str]()
    among = [] if kept.condition is None else [kept.condition]
    for rows in batches(table, *among, with_index=False, also=_names(kept)):
        looked = Looked(0, [], [])
        for row in rows:
            try:
                alike = _alike(row, kept, key)
            except EnvelopeError as error:
                if stops(error):
                    raise
                if not kept.name:  # else it was named before
                    looked.failed.append((row.name, str(error)))
                continue
            if alike is None:
                continue
            looked.values += not kept.name
            before = first.setdefault(alike, row.name)
            if before != row.name:
                found = Collision(
                    str(table.index), table.using, table.schema, before, row.name, kept.name
                )
                looked.collisions.append(found)
        yield looked


def _names(kept: Uniqueness) -> Iterator[str]:
    """Return the names of the fields that it takes to tell rows apart."""
    for column in kept.columns:
        if not is_index(column):
            yield column.name
            continue
        yield from column.scope
        for source in column.sources:
            yield source.field.name
            yield from (field.name for field in source.field.bound_fields)


def _alike(row: Row, kept: Uniqueness, key: bytes) -> Hashable:
    """Return what rows have in common that collide; None where a row collides with none."""
    parts = [_part(row, column, key) for column in kept.columns]
    return None if kept.nulls_distinct and None in parts else tuple(parts)


def _part(row: Row, column: Any, key: bytes) -> Hashable:
    if not is_index(column):
        value = row.value_of(column)
        return value if isinstance(value, Hashable) else repr(value)
    term = row.term(column)
    if term is None:
        return None
    part = value_part(term.forms, term.scope)
    del term
    return hashlib.blake2b(part, key=key, digest_size=16).digest()


# -- What an index keeps unique --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Uniqueness:
    """What no two rows of a table may have alike."""

    name: str  # of the constraint; empty for `unique=True`
    columns: tuple[Any, ...]  # their fields, one of which is the index
    condition: Q | None = None  # of the rows that it is about; None is all
    nulls_distinct: bool = True  # whether a row with NULL in one of the columns is like no other

    def __str__(self) -> str:
        return repr(self.name) if self.name else f"unique=True of {self.columns[0].name}"

    def is_kept_by(self, found: UniqueIndex) -> bool:
        """Whether an index of the database is the one that keeps it."""
        columns = {column.column for column in self.columns}
        return found.columns == columns and found.is_partial == (self.condition is not None)


def uniqueness_of(index: Any, using: str) -> list[Uniqueness]:
    """Return what an index keeps unique in a database, by itself or with other columns.

    There is no conditional uniqueness on a database that does not have it.
    """
    own = [Uniqueness("", (index,))] if index.unique else []
    return [*own, *_declared(index, connections[using].features)]


def _declared(index: Any, features: Any) -> Iterator[Uniqueness]:
    for each in declared_constraints(index.model):
        columns = tuple(each.columns(index.model))
        is_made = (each.condition is None or features.supports_partial_indexes) and (
            each.nulls_distinct is None or features.supports_nulls_distinct_unique_constraints
        )
        if index in columns and is_made:
            nulls_distinct = each.nulls_distinct is not False
            yield Uniqueness(each.name, columns, each.condition, nulls_distinct)


def require_constraints(tables: Iterable[IndexedTable], to: str) -> None:
    """Raise `IndexNotReady` if a table of an index does not keep unique what is declared."""
    problems: dict[str, str] = {}
    for table in tables:
        problems |= dict.fromkeys(_problems(table), table.index.field_path)
    if problems:
        label, listed = next(iter(problems.values())), "; ".join(problems)
        raise IndexNotReady(f"The blind index {label} does not become {to}: {listed}.")


def _problems(table: IndexedTable) -> Iterator[str]:
    found = unique_indexes(table.column.table_sql, table.using)
    where = location(table.using, table.schema)
    for each in uniqueness_of(table.index, table.using):
        like = [there for there in found if each.is_kept_by(there)]
        if any(there.is_valid for there in like):
            continue
        fault = f"{each} has no index in {where}: run `python manage.py migrate`"
        if like:
            fault = (
                f"{each} has the index {like[0].name!r} in {where}, which is not valid: drop it, "
                "and make it again"
            )
        yield fault
