"""Fields that are renamed and pinned to their label in one step, of which two must be made.

The autodetector takes a field for renamed when its declaration is the same under both names. With
`context=` or `previous_contexts=` added in the same step it is not, and the migration would drop
the column.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.apps.registry import Apps
from django.core.checks import CheckMessage, Warning
from django.core.exceptions import FieldDoesNotExist
from django.db.migrations.exceptions import (
    BadMigrationError,
    CircularDependencyError,
    NodeNotFoundError,
)
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ProjectState

from envelope_fields.checks.references import AppConfigs, checked_models, encrypted_fields
from envelope_fields.fields import EncryptedFieldMixin


def check_renames(app_configs: AppConfigs = None, **_: Any) -> list[CheckMessage]:
    """Compare the fields that name a label of a field that is gone with the migrations."""
    renamed = [
        (field, label)
        for field in encrypted_fields(checked_models(app_configs))
        for label in _old_labels(field)
    ]
    recorded = _recorded_state() if renamed else None  # it takes a while, and is seldom needed
    if recorded is None:
        return []
    return [
        Warning(
            f"The field was renamed and its label pinned in one step: `makemigrations` would drop "
            f"the column of {label} with its values.",
            hint=(
                f"Go back to the old name, declare context={label!r} there and run "
                "`makemigrations`; then rename, and run it again."
            ),
            obj=field,
            id="envelope_fields.W032",
        )
        for field, label in renamed
        if _would_drop(recorded, field, label)
    ]


def _old_labels(field: Any) -> Iterator[str]:
    """Yield the labels of a field that were derived for a field that is no more."""
    for label in (field.context, *field.previous_contexts):
        if isinstance(label, str) and label.count(".") == 2:
            app_label, model, name = label.split(".")
            if not _exists(field.model._meta.apps, app_label, model, name):
                yield label


def _exists(registry: Apps, app_label: str, model: str, name: str) -> bool:
    try:
        fields = registry.get_model(app_label, model)._meta.get_fields()
    except (LookupError, FieldDoesNotExist):
        return False
    return any(field.name.lower() == name for field in fields)


def _recorded_state() -> ProjectState | None:
    """Return the models as the migrations leave them, or None where these have errors."""
    try:
        loader = MigrationLoader(None, ignore_no_migrations=True)
        return loader.project_state()
    except (BadMigrationError, CircularDependencyError, NodeNotFoundError):
        return None


def _would_drop(recorded: ProjectState, field: Any, label: str) -> bool:
    options = field.model._meta
    if _recorded_field(recorded, options.app_label, options.model_name, field.name) is not None:
        return False  # its migration has been made
    app_label, model, name = label.split(".")
    before = _recorded_field(recorded, app_label, model, name)
    return isinstance(before, EncryptedFieldMixin) and (
        (before.context, before.previous_contexts) != (field.context, field.previous_contexts)
    )


def _recorded_field(recorded: ProjectState, app_label: str, model: str, name: str) -> Any:
    state = recorded.models.get((app_label, model))
    fields = state.fields if state else {}
    return next((field for key, field in fields.items() if key.lower() == name.lower()), None)
