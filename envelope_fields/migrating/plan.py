"""Finds the operations of a migration plan that turn a plain column encrypted, or back."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.db import connections
from django.db.migrations import AlterField, Migration, RunSQL, SeparateDatabaseAndState
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState

from envelope_fields.fields.encrypted import EncryptedFieldMixin

Plan = list[tuple[Migration, bool]]
# Given what `database_forwards` is given.
Around = Callable[[str, Any, ProjectState, ProjectState], AbstractContextManager[None]]
_Models = dict[tuple[str, str], dict[str, Any]]  # fields by app label, lower-cased name, and name
_ByPath = dict["FieldPath", Any]  # fields


class FieldPath(NamedTuple):
    """Where the state of a migration has a field."""

    app_label: str
    model_name: str
    field_name: str


@dataclass(eq=False)
class Column:
    """A column on its way through a plan, under whichever names."""

    first: FieldPath | None  # None: the plan makes it
    last: FieldPath | None = None  # None: the plan removes it


class Conversion(NamedTuple):
    """An operation that makes a plain field encrypted, or the other way, as it would be run."""

    migration: Migration
    operation: Operation
    column: Column
    at: FieldPath  # where the state has the field when the operation is run
    before: Any  # the fields of its migration, as if it went forwards
    after: Any
    backwards: bool

    @property
    def path(self) -> FieldPath | None:
        """Where the column is at present; None if it is made only by the plan itself."""
        return self.column.last if self.backwards else self.column.first

    @property
    def was(self) -> Any:
        """The field that it makes another one of."""
        return self.after if self.backwards else self.before

    @property
    def becomes(self) -> Any:
        """The field that it makes of the other one."""
        return self.before if self.backwards else self.after

    @property
    def encrypts(self) -> bool:
        """Whether the column becomes an encrypted one."""
        return is_encrypted(self.becomes)


def conversions(plan: Plan, using: str) -> list[Conversion]:
    """Return the conversions that a plan, forwards or backwards, would run in a database."""
    if not any(_may_alter(migration.operations) for migration, _ in plan):
        return []  # before anything is read
    backwards, migrations = plan[0][1], [migration for migration, _ in plan]
    walk = _Walk(state_without(migrations, using), backwards)
    for migration in reversed(migrations) if backwards else migrations:
        for operation in migration.operations:
            walk.follow(operation, migration, migration.app_label)
    for path, column in walk.columns.items():
        column.last = path
    return walk.found


def _may_alter(operations: Iterable[Any]) -> bool:
    """Whether operations may change a field: those of Django say so, others may do anything."""
    return any(
        isinstance(operation, AlterField)
        or not type(operation).__module__.startswith(("django.", "envelope_fields."))
        or (
            isinstance(operation, SeparateDatabaseAndState)
            and _may_alter(operation.database_operations)
        )
        for operation in operations
    )


def state_without(migrations: list[Migration], using: str) -> ProjectState:
    """Return the state of what is applied, as if none of `migrations` were."""
    skipped = {(migration.app_label, migration.name) for migration in migrations}
    loader = MigrationLoader(connections[using])
    if not skipped <= loader.graph.nodes.keys():
        # Migrations are being reversed that others replace: these do the same once more.
        loader.replace_migrations = False  # type: ignore[attr-defined]  # not in the stubs
        loader.build_graph()
        skipped |= loader.replacements.keys()
    applied = loader.applied_migrations.keys() & loader.graph.nodes.keys()
    return loader.project_state(sorted(applied - skipped))


def done_to(part: str, operations: Iterable[Any]) -> Iterator[Any]:
    """Yield operations one by one, also those inside others.

    Args:
        part: `database_operations` or `state_operations`: what they are done to.
        operations: those of a migration.
    """
    for operation in operations:
        if isinstance(operation, SeparateDatabaseAndState):
            yield from done_to(part, getattr(operation, part))
        else:
            yield operation


def states_before(plan: Plan, using: str) -> Iterator[tuple[str, Any, ProjectState]]:
    """Yield the app of each operation, it, and the state that it finds when it goes forwards.

    Those of a plan that goes backwards come as if it did not. The state is the same object each
    time.
    """
    migrations, backwards = [migration for migration, _ in plan], plan[0][1]
    state = state_without(migrations, using)
    for migration in reversed(migrations) if backwards else migrations:
        for operation in migration.operations:
            yield migration.app_label, operation, state
            operation.state_forwards(migration.app_label, state)


def run_within(operation: Any, method: str, around: Around) -> None:
    """Have an operation be run inside of a context, unless its SQL is only collected."""
    run = getattr(operation, method)  # or what that is run by

    def run_inside(
        app_label: str, schema_editor: Any, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        given = app_label, schema_editor, from_state, to_state
        with nullcontext() if schema_editor.collect_sql else around(*given):
            run(*given)

    vars(operation)[method] = run_inside  # of this one alone


def refuse_within(
    operation: Any, method: str, refusal: Callable[[str], str], error: type[Exception]
) -> None:
    """Have an operation be refused right before it runs.

    Args:
        operation, method: as for `run_within`.
        refusal: returns why, given the alias of a database, or nothing.
        error: what is raised then.
    """

    @contextmanager
    def looked_before(app_label: str, schema_editor: Any, *_: ProjectState) -> Iterator[None]:
        why = refusal(schema_editor.connection.alias)
        if why:
            raise error(why)
        yield

    run_within(operation, method, looked_before)


def run_as_they_are(*, plan: Plan | None = None, **_: Any) -> None:
    """Undo that of all operations of a plan: one that was run before in this process had them."""
    for operation in _with_those_inside(each for one, _ in plan or [] for each in one.operations):
        for method in ("database_forwards", "database_backwards"):
            vars(operation).pop(method, None)


def _with_those_inside(operations: Iterable[Any]) -> Iterator[Any]:
    for operation in operations:
        yield operation
        if isinstance(operation, SeparateDatabaseAndState):
            inside = (operation.database_operations, operation.state_operations)
            yield from _with_those_inside(itertools.chain(*inside))


class _Walk:
    """Runs the operations of a plan on a state, and keeps up with where columns are.

    An operation may be about a model of another app than its migration's. So what it changed is
    seen by comparing the whole state, and not by the label that it was given.
    """

    def __init__(self, state: ProjectState, backwards: bool) -> None:
        self._state = state
        self._backwards = backwards
        self._models = _models(state)
        self.columns = {path: Column(first=path) for path in _by_path(self._models)}
        self.found: list[Conversion] = []

    def follow(self, operation: Any, migration: Migration, app_label: str) -> None:
        """Run an operation on the state, and note the conversions that it is."""
        if isinstance(operation, SeparateDatabaseAndState):
            self._follow_in_the_database(operation, migration, app_label)
        operation.state_forwards(app_label, self._state)
        before, after = _changed(self._models, models := _models(self._state))
        self._models = models
        # What these say of the state does nothing to the database.
        if not isinstance(operation, SeparateDatabaseAndState | RunSQL):
            self._note_conversions(operation, migration, before, after)
        self._rename(before, after)

    def _follow_in_the_database(
        self, operation: SeparateDatabaseAndState, migration: Migration, app_label: str
    ) -> None:
        """What it does to the database has a state of its own."""
        inner = copy.copy(self)
        inner._state, inner.columns = self._state.clone(), dict(self.columns)
        # Through its own method, which may know that the model is of another app.
        database = copy.copy(operation)
        followed: Any = [
            _Followed(each, inner, migration) for each in operation.database_operations
        ]
        database.state_operations = followed  # they need one method alone
        database.state_forwards(app_label, inner._state)

    def _note_conversions(
        self, operation: Operation, migration: Migration, before: _ByPath, after: _ByPath
    ) -> None:
        for path in before.keys() & after.keys():
            was, becomes = before[path], after[path]
            if is_encrypted(was) != is_encrypted(becomes):
                column = self.columns[path]
                self.found.append(
                    Conversion(migration, operation, column, path, was, becomes, self._backwards)
                )

    def _rename(self, before: _ByPath, after: _ByPath) -> None:
        """Move columns to their new paths.

        Where the field or its model is renamed, the field's object stays; where it is altered, its
        path does.
        """
        there = {path: self.columns.pop(path) for path in before}
        by_object = {id(field): there[path] for path, field in before.items()}
        for path, field in after.items():
            known = by_object.get(id(field)) or there.get(path)
            self.columns[path] = known or Column(first=None)


class _Followed:
    """Stands in a list of operations, so that each is followed with the label that it is given."""

    def __init__(self, operation: Any, walk: _Walk, migration: Migration) -> None:
        self._operation = operation
        self._walk = walk
        self._migration = migration

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        self._walk.follow(self._operation, self._migration, app_label)


def _models(state: ProjectState) -> _Models:
    return {key: dict(model.fields) for key, model in state.models.items()}


def _changed(before: _Models, after: _Models) -> tuple[_ByPath, _ByPath]:
    """Return the fields, before and after, of the models that differ."""
    same = {key for key in before.keys() & after.keys() if _is_same(before[key], after[key])}
    return _by_path(before, same), _by_path(after, same)


def _is_same(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Whether the fields are the same objects; what a field is equal to says less."""
    return before.keys() == after.keys() and all(
        field is after[name] for name, field in before.items()
    )


def _by_path(models: _Models, without: Collection[tuple[str, str]] = ()) -> _ByPath:
    return {
        FieldPath(*key, name): field
        for key, fields in models.items()
        if key not in without
        for name, field in fields.items()
    }


def is_encrypted(field: Any) -> bool:
    """Whether a field of a state is one of ours."""
    return isinstance(field, EncryptedFieldMixin)
