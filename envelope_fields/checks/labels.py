"""Labels: each belongs to one column, so that an envelope moved to another is not read there."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from django.apps.registry import Apps
from django.core.checks import CheckMessage, Error, Warning
from django.core.exceptions import FieldDoesNotExist
from django.db.migrations import exceptions
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ProjectState

from envelope_fields.checks.models import AppConfigs, all_models, checked_models, encrypted_fields
from envelope_fields.fields import EncryptedFieldMixin

_HAVE_ERRORS = (
    exceptions.BadMigrationError,
    exceptions.CircularDependencyError,
    exceptions.NodeNotFoundError,
)


def check_labels(app_configs: AppConfigs = None, **_: Any) -> list[CheckMessage]:
    """Compare the labels of all encrypted fields, and report on the applications checked."""
    checked = set(checked_models(app_configs))
    fields = [
        field
        for field in encrypted_fields(all_models(app_configs))
        if isinstance(field.label, str)  # else E017 says so
    ]
    return [
        message
        for rule in (_shared, _mirrors, _previous)
        for message, concerned in rule(fields)
        if not checked.isdisjoint(field.model for field in concerned)
    ]


Found = Iterator[tuple[CheckMessage, list[Any]]]


def _shared(fields: list[Any]) -> Found:
    for label, sharing in _groups(fields, lambda field: field.label):
        if _are_copies(sharing):
            continue
        if _may_be_one_column(sharing):
            message: CheckMessage = Warning(
                f"The label {label!r} is that of several fields: {_names(sharing)}.",
                hint=(
                    "Right where an unmanaged model shows the table of another. If they are two "
                    "columns, give each a context= of its own: an envelope copied from one to "
                    "the other would be read there."
                ),
                obj=sharing[-1],
                id="envelope_fields.W030",
            )
        else:
            message = Error(
                f"The label {label!r} is used for several columns: {_names(sharing)}.",
                hint=(
                    "An envelope copied from one to the other would be read there. Give each a "
                    "context= of its own, or leave context= out."
                ),
                obj=sharing[-1],
                id="envelope_fields.E030",
            )
        yield message, sharing


def _mirrors(fields: list[Any]) -> Found:
    for _, same in _groups(fields, _column):
        labels = {field.label for field in same}
        if len(labels) > 1 and not all(field.model._meta.managed for field in same):
            original = next((field for field in same if field.model._meta.managed), same[0])
            yield (
                Warning(
                    f"One column is mapped under several labels: {_names(same)}.",
                    hint=(
                        "What one of them writes, the others cannot read. Give them all "
                        f"context={original.label!r}, unless they are in different databases."
                    ),
                    obj=same[-1],
                    id="envelope_fields.W031",
                ),
                same,
            )


def _previous(fields: list[Any]) -> Found:
    present = dict(_by(fields, lambda field: field.label))
    for field in fields:
        for label in filter(_is_text, field.previous_contexts):  # else E018 says so
            for other in present.get(label, ()):
                if other.label == field.label or _is_declared(field, other):
                    continue
                if _column(other) != _column(field):
                    yield (
                        Error(
                            f"'previous_contexts' names {label!r}, the present label of {other}.",
                            hint=(
                                "An envelope copied from there would be read here. Remove it, "
                                "and save again what was written under it."
                            ),
                            obj=field,
                            id="envelope_fields.E031",
                        ),
                        [field, other],
                    )


def _is_text(label: Any) -> bool:
    return isinstance(label, str)


def _is_declared(field: Any, other: Any) -> bool:
    """Whether a field is a copy of another, or both are copies of the same one."""
    return field.is_copy_of(other) or (field.copied is not None and field.copied == other.copied)


def _are_copies(sharing: list[Any]) -> bool:
    """Whether all but one are declared copies of that one."""
    originals = [field for field in sharing if field.copied is None]
    return len(originals) == 1 and all(
        field is originals[0] or field.is_copy_of(originals[0]) for field in sharing
    )


def _may_be_one_column(sharing: list[Any]) -> bool:
    managed = [field for field in sharing if field.model._meta.managed]
    return len(managed) < 2 and len({field.model for field in sharing}) == len(sharing)


def _groups(fields: list[Any], key: Callable[[Any], Any]) -> Iterator[tuple[Any, list[Any]]]:
    return (item for item in _by(fields, key) if len(item[1]) > 1)


def _by(fields: list[Any], key: Callable[[Any], Any]) -> Iterable[tuple[Any, list[Any]]]:
    found = defaultdict(list)
    for field in fields:
        found[key(field)].append(field)
    return found.items()


def _column(field: Any) -> tuple[str, str]:
    return field.model._meta.db_table, field.column


def _names(fields: list[Any]) -> str:
    return ", ".join(map(str, fields))


def check_renames(app_configs: AppConfigs = None, **_: Any) -> list[CheckMessage]:
    """Compare the fields that name a label of a field that is gone with the migrations.

    A rename and a pinned label take two steps. The autodetector takes a field for renamed when its
    declaration is the same under both names. With `context=` or `previous_contexts=` added in the
    same step it is not, and the migration would drop the column.
    """
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
    except _HAVE_ERRORS:
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
