"""What an index keeps unique, and whether its tables have the constraints for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.db import connections
from django.db.models import Q

from envelope_fields.databases.tables import UniqueIndex, unique_indexes
from envelope_fields.exceptions import IndexNotReady
from envelope_fields.fields import IndexedUnique
from envelope_fields.indexing.rows import IndexedTable, location


@dataclass(frozen=True, slots=True)
class Uniqueness:
    """What no two rows of a table may have alike.

    Attributes:
        name: of the constraint; empty for `unique=True`.
        columns: the fields of its columns, one of which is the index.
        condition: of the rows that it is about; None is all.
        nulls_distinct: whether a row with NULL in one of the columns is like no other.
    """

    name: str
    columns: tuple[Any, ...]
    condition: Q | None = None
    nulls_distinct: bool = True

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
    for each in index.model._meta.constraints:
        if not isinstance(each, IndexedUnique):
            continue
        columns = tuple(each.columns(index.model))
        is_made = (each.condition is None or features.supports_partial_indexes) and (
            each.nulls_distinct is None or features.supports_nulls_distinct_unique_constraints
        )
        if index in columns and is_made:
            nulls_distinct = each.nulls_distinct is not False
            yield Uniqueness(each.name, columns, each.condition, nulls_distinct)


def require_constraints(tables: Iterable[IndexedTable], to: str) -> None:
    """Return if each table of an index keeps unique what is declared.

    Raises:
        IndexNotReady: one does not.
        DatabaseError: it could not be asked.
    """
    problems = [problem for table in tables for problem in _problems(table)]
    if problems:
        label = problems[0][0].index.field_path
        listed = "; ".join(text for _, text in problems)
        raise IndexNotReady(f"The blind index {label} does not become {to}: {listed}.")


def _problems(table: IndexedTable) -> Iterator[tuple[IndexedTable, str]]:
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
        yield table, fault
