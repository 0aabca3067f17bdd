"""Blind indexes that a migration would have made of something else, under the same name.

What is in their columns was made of what was declared before.
"""

from __future__ import annotations

from typing import Any, cast

from django.apps import AppConfig, apps as installed_apps
from django.core.exceptions import FieldDoesNotExist
from django.db.migrations import AlterField, RenameField
from django.db.models.constants import LOOKUP_SEP
from django.db.models.signals import pre_migrate

from envelope_fields.databases.tables import has_rows
from envelope_fields.fields.index.macs import is_index
from envelope_fields.fields.index.normalizers import find_normalizer
from envelope_fields.migrating.indexes import IndexInUse, known_indexes, operations_in
from envelope_fields.migrating.plan import Plan
from envelope_fields.models import IndexState


def connect(app: AppConfig) -> None:
    """Look at each plan before it is run."""
    pre_migrate.connect(_look, sender=app, dispatch_uid="envelope_fields.altered_indexes")


def _look(*, using: str, plan: Plan | None = None, apps: Any = installed_apps, **_: Any) -> None:
    known = known_indexes()
    labels = {label for label, row in known.items() if row.state != IndexState.RETIRED}
    for migration, backwards in plan or []:
        for operation in operations_in(migration.operations):
            if isinstance(operation, AlterField) and not backwards:
                label = f"{migration.app_label}.{operation.model_name}.{operation.name}".lower()
                if label in labels and is_index(operation.field):
                    _refuse_other_values(operation, label, apps, using, plan or [])


def _refuse_other_values(
    operation: AlterField, label: str, apps: Any, using: str, plan: Plan
) -> None:
    """Raise if an index would be of something else, beside its old values.

    Raises:
        IndexInUse: it would.
    """
    app_label, becomes = label.partition(".")[0], cast(Any, operation.field)
    try:
        model: Any = apps.get_model(app_label, operation.model_name)
        was: Any = model._meta.get_field(operation.name)
    except (LookupError, FieldDoesNotExist):  # the plan makes it
        return
    if not is_index(was) or not has_rows(model, using):
        return
    renamed = _renamed(operation.model_name, app_label, plan)
    same = [
        _same_source(*each, renamed, model)
        for each in zip(was.fields, becomes.fields, strict=False)
    ]
    is_same = len(was.fields) == len(becomes.fields) and all(same)
    if is_same and _decisive(was) == _decisive(becomes):
        return
    raise IndexInUse(
        f"{operation.describe()}: the blind index {label} has values of how it was declared "
        "before, which would neither be found nor kept unique. Put that back, and add an index of "
        "another name that `replaces` this one."
    )


def _decisive(index: Any) -> tuple[Any, ...]:
    """Return what the values of an index follow from, beside its fields."""
    template = getattr(index.key, "template", None)
    key = index.key if template is None else getattr(template, "text", template)
    return find_normalizer(index.normalizer).fingerprint, key, index.scope, index.shared


def _renamed(model_name: str, app_label: str, plan: Plan) -> dict[str, str]:
    """Return the old name of each field that a plan renames in a model, by its new one."""
    return {
        operation.new_name: operation.old_name
        for migration, backwards in plan
        if migration.app_label == app_label and not backwards
        for operation in operations_in(migration.operations)
        if isinstance(operation, RenameField) and operation.model_name.lower() == model_name.lower()
    }


def _same_source(was: str, becomes: str, renamed: dict[str, str], model: Any) -> bool:
    """Whether an index is of the same field and path as before, maybe under another name."""
    (before, *path), (after, *other) = (each.split(LOOKUP_SEP) for each in (was, becomes))
    names = {field.name for field in model._meta.local_fields}
    # A rename that came before has left the old name behind.
    is_same = renamed.get(after, after) == before or before not in names
    return is_same and path == other
