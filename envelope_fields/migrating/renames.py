"""Fields under conversion that get another name: how far one is, is found by its name.

A field that moves beside a column in clear keeps its name until it is done. Under another one it
would be `clear` again: what is encrypted alone would be read as NULL and written over, and what is
written would be in clear.

Other conversions go with the names of their fields. Of a field under another one, what another
package has stored would be read again after the conversion was finished.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from typing import Any, NamedTuple

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist
from django.db import connections, router, transaction
from django.db.migrations import (
    CreateModel,
    DeleteModel,
    RenameField,
    RenameModel,
    SeparateDatabaseAndState,
)
from django.db.migrations.state import ProjectState

from envelope_fields import audit
from envelope_fields.conf import configuration
from envelope_fields.exceptions import EnvelopeError
from envelope_fields.keyring.conversions import conversions_now
from envelope_fields.lifecycle.operations import Operation
from envelope_fields.migrating.plan import Plan, done_to, run_within, states_before
from envelope_fields.models import ColumnConversion, ColumnPhase
from envelope_fields.policy import APPLICATION


class PhaseWouldBeLost(EnvelopeError):
    """A migration would rename a field that moves, or its model, or drop the table of phases."""


class _Name(NamedTuple):
    """A field, or all fields of a model, where none is named."""

    model: str
    field: str | None


class _Rename(NamedTuple):
    """An operation that changes a name, and how it does so forwards."""

    operation: Any
    before: _Name
    after: _Name


def _renames(operation: Any) -> Iterator[_Rename]:
    """Yield what changes names; a model that goes from the state alone goes to another app."""
    in_state = isinstance(operation, SeparateDatabaseAndState)
    for each in done_to("state_operations", [operation]):
        if isinstance(each, RenameField):
            names = (_Name(each.model_name, name) for name in (each.old_name, each.new_name))
            yield _Rename(each, *names)
        elif isinstance(each, RenameModel):
            yield _Rename(each, _Name(each.old_name, None), _Name(each.new_name, None))
        elif in_state and isinstance(each, DeleteModel):
            yield _Rename(each, *[_Name(each.name, None)] * 2)


# -- Fields that move ------------------------------------------------------------------------------


def refuse(*, using: str, plan: Plan | None = None, **_: Any) -> None:
    """Look at a plan before it is run: refuse it where what moves would have no phase after."""
    refusals = [*_refusals(plan or [], using), *_dropped(plan or [], using)]
    if refusals:
        raise PhaseWouldBeLost("\n".join(refusals))


def _refusals(plan: Plan, using: str) -> Iterator[str]:
    operations = (each for migration, _ in plan for each in migration.operations)
    if not any(True for operation in operations for _ in _renames(operation)):
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
    backwards = plan[0][1]
    for app_label, operation, state in states_before(plan, using):
        found = list(_renames(operation))
        if found and backwards:
            state = state.clone()
            operation.state_forwards(app_label, state)
        for rename in found:
            now = rename.after if backwards else rename.before
            model = state.models.get((app_label, now.model.lower()))
            if model is None:
                continue
            for name, field in model.fields.items():
                if getattr(field, "converts", None) and now.field in (None, name):
                    yield f"{app_label}.{model.name}", name, rename.operation


def _dropped(plan: Plan, using: str) -> Iterator[str]:
    """Yield why our own tables stay: without a phase, the column in clear would be read."""
    ours = ColumnConversion._meta
    made = any(
        backwards
        and migration.app_label == ours.app_label
        and isinstance(operation, CreateModel)
        and operation.name_lower == ours.model_name
        for migration, backwards in plan
        for operation in migration.operations
    )
    if not made or using != configuration().database:
        return
    for (model, name), phase in conversions_now().phases.items():
        if phase != ColumnPhase.CLEAR and _has_column_in_clear(model, name):
            yield (
                f"Reversing the migration of envelope_fields that makes {ours.object_name} would "
                f"lose that {model}.{name} is {phase}, and its column in clear would be read. Go "
                f"back by `python manage.py convert_field {model}.{name} --to clear`; or remove "
                "that column first."
            )


def _has_column_in_clear(model: str, name: str) -> bool:
    try:
        field: Any = apps.get_model(model)._meta.get_field(name)
    except (LookupError, FieldDoesNotExist):
        return False
    return getattr(field, "plain_field", None) is not None


# -- Other conversions -----------------------------------------------------------------------------


def carry_conversions(*, using: str, plan: Plan | None = None, **_: Any) -> None:
    """Have what is known of conversions be renamed together with their fields."""
    renaming = [
        (operation, found, migration.app_label, backwards)
        for migration, backwards in plan or []
        for operation in migration.operations
        if (found := [each for each in _renames(operation) if each.before != each.after])
    ]
    if renaming and conversions_now().any():
        for each in renaming:
            _carry_with(*each)


def _carry_with(operation: Any, renames: list[_Rename], app: str, backwards: bool) -> None:
    @contextmanager
    def carried_after(app_label: str, schema_editor: Any, *_: ProjectState) -> Iterator[None]:
        yield
        using = schema_editor.connection.alias
        if router.allow_migrate(using, app_label):
            for _, before, after in reversed(renames) if backwards else renames:
                _carry(app, *((after, before) if backwards else (before, after)), using)

    run_within(operation, "database_backwards" if backwards else "database_forwards", carried_after)


class _DropOld:
    """Drops what is known under a name that is gone, once the migration is committed.

    Where keys have a database of their own, it may be rolled back without what is done there.
    """

    def __init__(self, pk: int) -> None:
        self.pk = pk

    def __call__(self) -> None:
        ColumnConversion.objects.using(configuration().database).filter(pk=self.pk).delete()


def _carry(app: str, before: _Name, after: _Name, migrated: str) -> None:
    """Have what is known of conversions be known by another name, too; and by that alone later."""
    using, hooks = configuration().database, connections[migrated].run_on_commit
    gone = {hook.pk for _, hook, *_ in hooks if isinstance(hook, _DropOld)}
    rows = ColumnConversion.objects.using(using).filter(model__iexact=f"{app}.{before.model}")
    rows = rows if before.field is None else rows.filter(field=before.field)
    for row in rows.exclude(pk__in=gone):
        with audit.act(using):
            _name(row, app, after, using)
        transaction.on_commit(_DropOld(row.pk), using=migrated)


def _name(row: ColumnConversion, app: str, after: _Name, using: str) -> None:
    named = copy(row)
    named.pk, named._state.adding = None, True
    if after.field is None:
        named.model = f"{app}.{after.model}"
    else:
        named.field = after.field
    rows = ColumnConversion.objects.using(using).filter(model=named.model, field=named.field)
    rows.delete()  # of a field that had this name before
    named.save(using=using, force_insert=True)
    audit.record(
        Operation.RENAME_CONVERSION,
        actor=APPLICATION,
        using=using,
        before={"field": f"{row.model}.{row.field}"},
        after={"field": f"{named.model}.{named.field}"},
    )
