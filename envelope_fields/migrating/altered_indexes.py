"""Blind indexes that a migration would have made of something else, under the same name.

What is in their columns was made of what was declared before. It may be the index that is altered,
or a field that it is of, forwards or backwards.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.apps import apps as installed_apps
from django.db import connections
from django.db.migrations import AlterField, Migration, RenameField
from django.db.migrations.loader import MigrationLoader
from django.db.models.constants import LOOKUP_SEP

from envelope_fields.databases.tables import has_rows
from envelope_fields.fields.index.macs import is_index
from envelope_fields.fields.index.normalizers import find_normalizer
from envelope_fields.fields.index.sources import type_name
from envelope_fields.migrating.indexes import IndexInUse, known_indexes, operations_in
from envelope_fields.migrating.plan import Plan, is_encrypted
from envelope_fields.models import IndexState


@dataclass(frozen=True, slots=True)
class _Alteration:
    """A field that a plan alters."""

    operation: AlterField
    model: Any  # that has it at present
    becomes: Any
    renamed: dict[str, str]  # by the names that fields of the model get, those that they have

    @property
    def label(self) -> str:
        """Where it is: `app_label.model.field`."""
        return f"{self.model._meta.label_lower}.{self.operation.name}".lower()


def look(*, using: str, plan: Plan | None = None, apps: Any = installed_apps, **_: Any) -> None:
    """Look at a plan before it is run."""
    known = known_indexes()
    labels = {label for label, row in known.items() if row.state != IndexState.RETIRED}
    if not labels:
        return
    for each in _alterations(plan or [], apps, using):
        for index in filter(is_index, each.model._meta.local_fields):
            label = f"{each.model._meta.label_lower}.{index.name}".lower()
            if label not in labels or not has_rows(each.model, using):
                continue
            if index.name.lower() == each.operation.name_lower:
                _refuse_other_values(each, index)
            else:
                _refuse_other_type(each, index)


def _alterations(plan: Plan, apps: Any, using: str) -> Iterator[_Alteration]:
    for migration, backwards in plan:
        for operation in operations_in(migration.operations):
            if not isinstance(operation, AlterField):
                continue
            becomes: Any = operation.field
            if backwards:
                becomes = _before(migration, operation, using)
            try:
                model = apps.get_model(migration.app_label, operation.model_name)
            except LookupError:  # the plan makes it
                continue
            if is_index(becomes) or is_encrypted(becomes):
                renamed = _renamed(operation.model_name_lower, migration.app_label, plan)
                yield _Alteration(operation, model, becomes, renamed)


def _before(migration: Migration, operation: AlterField, using: str) -> Any:
    """Return what a field is before a migration; None where that makes it."""
    state = MigrationLoader(connections[using]).project_state(
        (migration.app_label, migration.name), at_end=False
    )
    model = state.models.get((migration.app_label, operation.model_name_lower))
    return None if model is None else model.fields.get(operation.name)


def _renamed(model_name: str, app_label: str, plan: Plan) -> dict[str, str]:
    """Return the present name of each field that a plan renames in a model, by the one it gets."""
    return dict(
        (operation.old_name, operation.new_name)
        if backwards
        else (operation.new_name, operation.old_name)
        for migration, backwards in plan
        if migration.app_label == app_label
        for operation in operations_in(migration.operations)
        if isinstance(operation, RenameField) and operation.model_name_lower == model_name
    )


def _refuse_other_values(altered: _Alteration, was: Any) -> None:
    """Raise `IndexInUse` if an index would be of something else, beside its old values."""
    becomes = altered.becomes
    if not is_index(becomes):
        return
    same = [_same_source(*each, altered) for each in zip(was.fields, becomes.fields, strict=False)]
    is_same = len(was.fields) == len(becomes.fields) and all(same)
    if is_same and _decisive(was) == _decisive(becomes):
        return
    taken = {field.name for field in altered.model._meta.get_fields()}
    line = becomes.successor(was.name, taken, replaces=is_same and was.scope == becomes.scope)
    raise IndexInUse(
        f"{altered.operation.describe()}: the blind index {altered.label} has values of how it was "
        "declared before, which would neither be found nor kept unique. Put that back, and add an "
        f"index of another name: {line}"
    )


def _refuse_other_type(altered: _Alteration, index: Any) -> None:
    """Raise `IndexInUse` if a field would be of another type that an index is made of."""
    operation, becomes = altered.operation, altered.becomes
    name = altered.renamed.get(operation.name, operation.name)
    for source in index.sources:
        was = index.type_of(source)
        is_it = source.field.name == name and is_encrypted(becomes)
        if is_it and was and type_name(becomes) not in ("", was):
            raise IndexInUse(
                f"{operation.describe()}: the blind index {index.field_path} has values of how "
                f"{name} was declared before (its type was {was}, and would be "
                f"{type_name(becomes)}), which would neither be found nor kept unique. Put that "
                "back, and add a field of another name with an index of its own."
            )


def _decisive(index: Any) -> tuple[Any, ...]:
    """Return what the values of an index follow from, beside its fields."""
    template = getattr(index.key, "template", None)
    key = index.key if template is None else getattr(template, "text", template)
    return find_normalizer(index.normalizer).fingerprint, key, index.scope, index.shared


def _same_source(was: str, becomes: str, altered: _Alteration) -> bool:
    """Whether an index is of the same field and path as before, maybe under another name."""
    (before, *path), (after, *other) = (each.split(LOOKUP_SEP) for each in (was, becomes))
    names = {field.name for field in altered.model._meta.local_fields}
    # A rename that came before has left the old name behind.
    is_same = altered.renamed.get(after, after) == before or before not in names
    return is_same and path == other
