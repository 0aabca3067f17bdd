"""Fields that move keep their names until they are done: the phase of a field is found by them.

Under another name it would be `clear` again. What is encrypted alone would be read as NULL and
written over, and what is written would be in clear.
"""

from collections.abc import Iterator
from typing import Any

from django.apps import AppConfig
from django.db.migrations import DeleteModel, RenameField, RenameModel, SeparateDatabaseAndState
from django.db.migrations.state import ProjectState
from django.db.models.signals import pre_migrate

from envelope_fields.exceptions import EnvelopeError
from envelope_fields.keyring.conversions import conversions_now
from envelope_fields.migrating.plan import Plan, state_without
from envelope_fields.models import ColumnPhase


class PhaseWouldBeLost(EnvelopeError):
    """A migration would rename a field that moves, or its model."""


def connect(app: AppConfig) -> None:
    """Look at each plan before it is run."""
    pre_migrate.connect(_look, sender=app, dispatch_uid="envelope_fields.renames")


def _look(*, using: str, plan: Plan | None = None, **_: Any) -> None:
    refusals = list(_refusals(plan or [], using))
    if refusals:
        raise PhaseWouldBeLost("\n".join(refusals))


def _refusals(plan: Plan, using: str) -> Iterator[str]:
    migrations = [migration for migration, _ in plan]
    if not any(each for one in migrations for each in _renames(one.operations)):
        return
    known = conversions_now()
    for label, name, operation in _renamed(plan, using):
        phase = known.phase(label, name)
        if phase != ColumnPhase.CLEAR:
            yield (
                f"{operation.describe()}: {label}.{name} is {phase}, and its phase is found by "
                "this name. Rename it when its column in clear is gone, or after "
                f"`python manage.py convert_field {label}.{name} --to clear`, which goes back."
            )


def _renamed(plan: Plan, using: str) -> Iterator[tuple[str, str, Any]]:
    """Yield the model and the name of each field with `converts=` that gets others, and by what."""
    migrations, backwards = [migration for migration, _ in plan], plan[0][1]
    state = state_without(migrations, using)
    for migration in reversed(migrations) if backwards else migrations:
        app_label = migration.app_label
        for operation in migration.operations:
            if not backwards:
                yield from _moving(operation, app_label, state, backwards)
            operation.state_forwards(app_label, state)
            if backwards:
                yield from _moving(operation, app_label, state, backwards)


def _moving(
    operation: Any, app_label: str, state: ProjectState, backwards: bool
) -> Iterator[tuple[str, str, Any]]:
    for each in _renames([operation]):
        model_name, field_name = _names(each, backwards)
        model = state.models.get((app_label, model_name.lower()))
        if model is None:
            continue
        for name, field in model.fields.items():
            if getattr(field, "converts", None) and field_name in (None, name):
                yield f"{app_label}.{model.name}", name, each


def _names(operation: Any, backwards: bool) -> tuple[str, str | None]:
    """Return the name of the model, and of the field where one is renamed, as they are now."""
    if isinstance(operation, RenameField):
        return operation.model_name, operation.new_name if backwards else operation.old_name
    if isinstance(operation, RenameModel):
        return operation.new_name if backwards else operation.old_name, None
    return operation.name, None


def _renames(operations: Any, *, in_state: bool = False) -> Iterator[Any]:
    """Yield what changes names; a model that goes from the state alone goes to another app."""
    for operation in operations:
        if isinstance(operation, SeparateDatabaseAndState):
            yield from _renames(operation.state_operations, in_state=True)
        elif isinstance(operation, RenameField | RenameModel) or (
            in_state and isinstance(operation, DeleteModel)
        ):
            yield operation
