"""Conversions go with the names of their fields: how far one is, is found by these.

Of a field under another name, what another package has stored would be read again after the
conversion was finished. A field that moves beside a column in clear keeps its name: see `renames`.
"""

from collections.abc import Iterator
from copy import copy
from typing import Any, NamedTuple

from django.apps import AppConfig
from django.db import connections, router, transaction
from django.db.migrations import RenameField, RenameModel, SeparateDatabaseAndState
from django.db.migrations.state import ProjectState
from django.db.models.signals import pre_migrate

from envelope_fields import audit
from envelope_fields.conf import configuration
from envelope_fields.keyring.conversions import conversions_now
from envelope_fields.lifecycle.operations import Operation
from envelope_fields.migrating.plan import Plan
from envelope_fields.models import ColumnConversion
from envelope_fields.policy import APPLICATION


class _Name(NamedTuple):
    """How conversions are found: of all fields of a model, where none is named."""

    model: str
    field: str | None


class _Rename(NamedTuple):
    """A change of a name, forwards."""

    before: _Name
    after: _Name


def connect(app: AppConfig) -> None:
    """Look at each plan before it is run."""
    pre_migrate.connect(_look, sender=app, dispatch_uid="envelope_fields.conversion_names")


def _look(*, using: str, plan: Plan | None = None, **_: Any) -> None:
    renaming = [
        (operation, found, backwards)
        for migration, backwards in plan or []
        for operation in migration.operations
        if (found := list(_renames(operation, migration.app_label)))
    ]
    if renaming and conversions_now().any():
        for operation, found, backwards in renaming:
            _carry_with(operation, found, backwards)


def _renames(operation: Any, app_label: str) -> Iterator[_Rename]:
    if isinstance(operation, SeparateDatabaseAndState):
        for each in operation.state_operations:
            yield from _renames(each, app_label)
    elif isinstance(operation, RenameField):
        model = f"{app_label}.{operation.model_name}"
        yield _Rename(_Name(model, operation.old_name), _Name(model, operation.new_name))
    elif isinstance(operation, RenameModel):
        old, new = (f"{app_label}.{each}" for each in (operation.old_name, operation.new_name))
        yield _Rename(_Name(old, None), _Name(new, None))


def _carry_with(operation: Any, renames: list[_Rename], backwards: bool) -> None:
    """Have a migration rename what is known of conversions together with their fields."""
    name = "database_backwards" if backwards else "database_forwards"
    for each in ("database_forwards", "database_backwards"):
        vars(operation).pop(each, None)  # a plan was run before in this process
    run = getattr(operation, name)

    def run_and_carry(
        app_label: str, schema_editor: Any, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        run(app_label, schema_editor, from_state, to_state)
        using = schema_editor.connection.alias
        if not schema_editor.collect_sql and router.allow_migrate(using, app_label):
            for before, after in reversed(renames) if backwards else renames:
                _carry(*((after, before) if backwards else (before, after)), using)

    setattr(operation, name, run_and_carry)  # of this one alone


class _DropOld:
    """Drops what is known under a name that is gone, once the migration is committed.

    Where keys have a database of their own, it may be rolled back without what is done there.
    """

    def __init__(self, pk: int) -> None:
        self.pk = pk

    def __call__(self) -> None:
        ColumnConversion.objects.using(configuration().database).filter(pk=self.pk).delete()


def _carry(before: _Name, after: _Name, migrated: str) -> None:
    """Have what is known of conversions be known by another name, too; and by that alone later."""
    using, hooks = configuration().database, connections[migrated].run_on_commit
    gone = {hook.pk for _, hook, *_ in hooks if isinstance(hook, _DropOld)}
    rows = ColumnConversion.objects.using(using).filter(model__iexact=before.model)
    rows = rows if before.field is None else rows.filter(field=before.field)
    for row in rows.exclude(pk__in=gone):
        with audit.prepared(using), transaction.atomic(using=using):
            _renamed(row, after, using)
        transaction.on_commit(_DropOld(row.pk), using=migrated)


def _renamed(row: ColumnConversion, after: _Name, using: str) -> None:
    named = copy(row)
    named.pk, named._state.adding = None, True
    if after.field is None:
        named.model = after.model
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
