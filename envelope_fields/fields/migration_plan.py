"""Finds the operations of a migration plan that turn a plain column encrypted, or back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.db import connections
from django.db.migrations import AlterField, Migration, SeparateDatabaseAndState
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ProjectState
from django.db.models import Field

from envelope_fields.fields.encrypted import EncryptedFieldMixin

Plan = list[tuple[Migration, bool]]


class Place(NamedTuple):
    """Where the state of a migration has a field."""

    app_label: str
    model_name: str
    field_name: str


@dataclass(eq=False)
class Column:
    """A column on its way through a plan, under whichever names."""

    first: Place | None  # None: the plan makes it
    last: Place | None = None  # None: the plan removes it


class Conversion(NamedTuple):
    """An `AlterField` between a plain and an encrypted field, as it would be run."""

    migration: Migration
    operation: AlterField
    column: Column
    encrypts: bool
    backwards: bool

    @property
    def place(self) -> Place | None:
        """Where the column is at present; None if it is made only by the plan itself."""
        return self.column.last if self.backwards else self.column.first


def conversions(plan: Plan, using: str) -> list[Conversion]:
    """Return the conversions that a plan, forwards or backwards, would run in a database."""
    if not any(_alters(migration.operations) for migration, _ in plan):
        return []  # before anything is read
    backwards = plan[0][1]
    migrations = [migration for migration, _ in plan]
    state = _state_without(migrations, using)
    columns = {place: Column(first=place) for place in _fields(state)}
    found: list[Conversion] = []
    for migration in reversed(migrations) if backwards else migrations:
        _follow(migration.operations, migration, backwards, state, columns, found)
    for place, column in columns.items():
        column.last = place
    return found


def _alters(operations: Iterable[Any]) -> bool:
    return any(
        isinstance(operation, AlterField)
        or (
            isinstance(operation, SeparateDatabaseAndState)
            and _alters(operation.database_operations)
        )
        for operation in operations
    )


def _state_without(migrations: list[Migration], using: str) -> ProjectState:
    """Return the state of what is applied, as if none of `migrations` were."""
    left_out = {(migration.app_label, migration.name) for migration in migrations}
    loader = MigrationLoader(connections[using])
    if not left_out <= loader.graph.nodes.keys():
        # Migrations are being reversed that others replace: these said the same once more.
        loader.replace_migrations = False  # type: ignore[attr-defined]  # not in the stubs
        loader.build_graph()
        left_out |= loader.replacements.keys()
    applied = loader.applied_migrations.keys() & loader.graph.nodes.keys()
    return loader.project_state(sorted(applied - left_out))


def _follow(
    operations: Iterable[Any],
    migration: Migration,
    backwards: bool,
    state: ProjectState,
    columns: dict[Place, Column],
    found: list[Conversion],
) -> None:
    """Run operations on `state`, keep `columns` up with it, and note conversions in `found`."""
    app_label = migration.app_label
    for operation in operations:
        if isinstance(operation, SeparateDatabaseAndState):
            # What it does to the database has a state of its own; what it says of the state
            # does nothing to the database.
            database = operation.database_operations
            _follow(database, migration, backwards, state.clone(), dict(columns), found)
        before = _fields(state, app_label)
        operation.state_forwards(app_label, state)
        after = _fields(state, app_label)
        if isinstance(operation, AlterField):
            place = Place(app_label, operation.model_name_lower, operation.name)
            encrypted = _is_encrypted(after[place])
            if encrypted != _is_encrypted(before[place]):
                encrypts = encrypted != backwards
                found.append(Conversion(migration, operation, columns[place], encrypts, backwards))
        _rename(columns, before, after)


def _rename(
    columns: dict[Place, Column], before: dict[Place, Any], after: dict[Place, Any]
) -> None:
    """Move columns to their new places.

    Where the field or its model is renamed, the field's object stays; where it is altered, its
    place does.
    """
    there = {place: columns.pop(place) for place in before}
    by_object = {id(field): there[place] for place, field in before.items()}
    for place, field in after.items():
        columns[place] = by_object.get(id(field)) or there.get(place) or Column(first=None)


def _fields(state: ProjectState, app_label: str | None = None) -> dict[Place, Field[Any, Any]]:
    return {
        Place(label, model_name, name): field
        for (label, model_name), model_state in state.models.items()
        if app_label in (None, label)
        for name, field in model_state.fields.items()
    }


def _is_encrypted(field: Any) -> bool:
    return isinstance(field, EncryptedFieldMixin)
