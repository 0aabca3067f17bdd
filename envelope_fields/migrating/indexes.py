"""Blind indexes in migrations: what would leave half an index that lookups ask.

The values of an index are made for its label. So a column that is renamed, or goes with its model
to another name, would not find its rows any more, nor keep them unique; one that is removed and
added again is empty, whatever was known of the first. Triggers name columns, which may be about to
go.
"""

from collections.abc import Container, Iterable, Iterator
from typing import Any

from django.apps import AppConfig, apps as installed_apps
from django.db import connections
from django.db.migrations import (
    AddField,
    RemoveConstraint,
    RemoveField,
    RenameField,
    RenameModel,
    SeparateDatabaseAndState,
)
from django.db.models import Field
from django.db.models.signals import pre_migrate

from envelope_fields.conf import configuration
from envelope_fields.databases.tables import has_rows
from envelope_fields.exceptions import EnvelopeError
from envelope_fields.fields import IndexedUnique
from envelope_fields.lifecycle.index_states import change_index_state
from envelope_fields.lifecycle.index_triggers import drop_before_migration
from envelope_fields.migrating.plan import Plan
from envelope_fields.models import BlindIndex, IndexState
from envelope_fields.policy import APPLICATION


class IndexInUse(EnvelopeError):
    """A migration would take an index away, or its name, while lookups ask it."""


def connect(app: AppConfig) -> None:
    """Look at each plan before it is run."""
    from envelope_fields.migrating import altered_indexes  # which needs this module

    altered_indexes.connect(app)
    uid = "envelope_fields.indexes"
    pre_migrate.connect(_look, sender=app, dispatch_uid=uid)


def _look(*, using: str, plan: Plan | None = None, apps: Any = installed_apps, **_: Any) -> None:
    known = known_indexes()
    if not known:
        return
    dropped = set(_dropped_constraints(plan or []))
    for migration, backwards in plan or []:
        for operation in operations_in(migration.operations):
            if not backwards:
                _refuse_under_constraint(operation, migration.app_label, known, apps, dropped)
                _look_at(operation, migration.app_label, known, apps, using)
            elif isinstance(operation, AddField):
                _look_at_return(operation, migration.app_label, known, apps, using)
            elif (reverse := _reversed(operation)) is not None:
                _look_at(reverse, migration.app_label, _not_retired(known), apps, using)
    changed = {migration.app_label for migration, _ in plan or []}
    if any(_app_of(row) in changed for row in known_indexes().values()):
        # After the last migration they are made again, where they are to stand. A role that may
        # not drop them may have left some.
        drop_before_migration(using)


def _dropped_constraints(plan: Plan) -> Iterator[tuple[str, str, str]]:
    for migration, backwards in plan:
        for operation in operations_in(migration.operations):
            if isinstance(operation, RemoveConstraint) and not backwards:
                yield migration.app_label, operation.model_name.lower(), operation.name


def _app_of(row: BlindIndex) -> str:
    return row.label.partition(".")[0]


def known_indexes() -> dict[str, BlindIndex]:
    """Return the indexes that are begun, by their labels."""
    using = configuration().database
    if BlindIndex._meta.db_table not in connections[using].introspection.table_names():
        return {}
    return {row.label: row for row in BlindIndex.objects.using(using)}


def _not_retired(known: dict[str, BlindIndex]) -> dict[str, BlindIndex]:
    """Return those that lookups could ask: the others do not keep a migration from going back."""
    return {label: row for label, row in known.items() if row.state != IndexState.RETIRED}


def operations_in(operations: Iterable[Any]) -> Iterator[Any]:
    """Return the operations of a migration one by one, also those inside others."""
    for operation in operations:
        if isinstance(operation, SeparateDatabaseAndState):
            yield from operations_in(operation.database_operations)
            # What is added to the state alone has its column already, or will lose it.
            found = operations_in(operation.state_operations)
            yield from (each for each in found if not isinstance(each, AddField))
        else:
            yield operation


def _reversed(operation: Any) -> Any:
    """Return what an operation does backwards; None where it takes back what it added."""
    if isinstance(operation, RemoveField):
        return AddField(operation.model_name, operation.name, Field())
    if isinstance(operation, RenameField):
        return RenameField(operation.model_name, operation.new_name, operation.old_name)
    if isinstance(operation, RenameModel):
        return RenameModel(operation.new_name, operation.old_name)
    return None


def _look_at(
    operation: Any, app_label: str, known: dict[str, BlindIndex], apps: Any, using: str
) -> None:
    model_name, field_name = _named_by(operation)
    # A model that is renamed takes the labels of all its indexes with it.
    label = f"{app_label}.{model_name}.{field_name}".lower()
    found = [row for each, row in known.items() if each == label or _is_in(each, label)]
    if not found:
        return
    if not _has_rows(apps, app_label, model_name, using):
        if isinstance(operation, RemoveField):
            _retire_replaced(found, known)
        return
    for row in found:
        if isinstance(operation, AddField):
            _begin_again(row)
        elif row.state != IndexState.RETIRED:
            raise IndexInUse(
                f"{operation.describe()}: the blind index {row.label} is "
                f"{IndexState(row.state).label}. Its values are made for this name, and lookups, "
                "and what it keeps unique, would end without an error. Add an index of another "
                "name that `replaces` it, and retire it: `python manage.py rebuild_indexes "
                f"{row.label} --to retired`."
            )


def _retire_replaced(found: Iterable[BlindIndex], known: dict[str, BlindIndex]) -> None:
    """Retire indexes of a table without rows, in whose place another one comes."""
    replaced = {row.replaces for row in known.values()}
    for row in found:
        if row.label in replaced and row.state != IndexState.RETIRED:
            change_index_state(row.label, IndexState.VERIFIED, actor=APPLICATION)
            change_index_state(row.label, IndexState.RETIRED, actor=APPLICATION)


def _look_at_return(
    operation: AddField, app_label: str, known: dict[str, BlindIndex], apps: Any, using: str
) -> None:
    """Look at a migration back to where an index was not there, while it stands in for another."""
    row = known.get(f"{app_label}.{operation.model_name}.{operation.name}".lower())
    if row is None or row.required_at is None:
        return
    if _has_rows(apps, app_label, operation.model_name, using):
        raise IndexInUse(
            f"{operation.describe()}, backwards: the blind index {row.label} is "
            f"{IndexState(row.state).label} in the place of {row.replaces}. Go back to that first: "
            f"`python manage.py rebuild_indexes {row.label} --to filling`."
        )


def _refuse_under_constraint(
    operation: Any,
    app_label: str,
    known: dict[str, BlindIndex],
    apps: Any,
    dropped: Container[tuple[str, str, str]],
) -> None:
    """Raise where the column of an index goes, and a constraint over it stays.

    Databases drop such a constraint in silence, or what is left of its columns becomes unique.

    Raises:
        IndexInUse: there is one.
    """
    if not isinstance(operation, RemoveField):
        return
    model_name, name = operation.model_name.lower(), operation.name
    if f"{app_label}.{model_name}.{name}".lower() not in known:
        return
    try:
        model = apps.get_model(app_label, model_name)
    except LookupError:  # the plan makes it
        return
    for constraint in model._meta.constraints:
        is_over = isinstance(constraint, IndexedUnique) and any(
            column.name == name for column in constraint.columns(model)
        )
        if is_over and (app_label, model_name, constraint.name) not in dropped:
            raise IndexInUse(
                f"{operation.describe()}: the constraint {constraint.name!r} is over its column, "
                "and would go with it. Add one over the index that `replaces` it, and remove this "
                "one first, with RemoveConstraint."
            )


def _named_by(operation: Any) -> tuple[str, str]:
    """Return the names of the model and the field that an operation is about, or empty ones."""
    if isinstance(operation, RenameModel):
        return operation.old_name, ""
    if isinstance(operation, RenameField):
        return operation.model_name, operation.old_name
    if isinstance(operation, AddField | RemoveField):
        return operation.model_name, operation.name
    return "", "-"


def _is_in(label: str, prefix: str) -> bool:
    return prefix.endswith(".") and label.startswith(prefix)


def _has_rows(apps: Any, app_label: str, model_name: str, using: str) -> bool:
    try:
        model = apps.get_model(app_label, model_name)
    except LookupError:  # the plan makes it
        return False
    return has_rows(model, using)


def _begin_again(row: BlindIndex) -> None:
    """Have an index that is added once more be filled first."""
    if row.state == IndexState.RETIRED:
        raise IndexInUse(
            f"The blind index {row.label} is retired: rows may be there that only it could tell "
            "from each other. Give the new one another name."
        )
    if row.state != IndexState.FILLING:
        change_index_state(row.label, IndexState.FILLING, actor=APPLICATION)
