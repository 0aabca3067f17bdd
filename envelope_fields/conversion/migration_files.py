"""The two migrations by which a plain field becomes two: one renames it, and one adds a column.

The autodetector would take the plain field for altered into the encrypted one, around its values.
"""

from pathlib import Path
from typing import Any

from django.apps import apps
from django.db.migrations import (
    AddField,
    AlterField,
    CreateModel,
    Migration,
    RenameField,
    SeparateDatabaseAndState,
)
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.migrations.operations.fields import FieldOperation
from django.db.migrations.questioner import MigrationQuestioner
from django.db.migrations.state import ProjectState
from django.db.migrations.writer import MigrationWriter

from envelope_fields.conversion.declaration import FILLS_ROWS, Move
from envelope_fields.conversion.phases import ConversionRefused


def migrations(move: Move) -> list[MigrationWriter]:
    """Return the migrations of a move, to be written behind those that there are.

    Raises:
        ConversionRefused: the app has no migrations, or they are not what its models are.
    """
    app_label, model = move.field.model._meta.app_label, move.field.model._meta.model_name
    first = _first(app_label, move.field)
    name = f"{model}_{move.new.name}"
    renamed = _migration(app_label, first, f"{name}_clear", _renaming(move))
    added = _migration(app_label, renamed, f"{name}_encrypted", _adding(move))
    return [MigrationWriter(each) for each in (renamed, added)]


def write(written: list[MigrationWriter]) -> list[Path]:
    """Write migrations to their files; `ConversionRefused` if one is there."""
    paths = [Path(each.path) for each in written]
    for path in paths:
        if path.exists():
            raise ConversionRefused(f"{path} is there already.")
    for path, each in zip(paths, written, strict=True):
        path.write_text(each.as_string(), encoding="utf-8")
    return paths


def _renaming(move: Move) -> list[Operation]:
    """Give the field its new name, and leave its column where it is."""
    model = move.field.model._meta.model_name
    return [
        AlterField(model, move.field.name, move.old.made()),  # with the name of its column
        RenameField(model, move.field.name, move.old.name),
    ]


def _adding(move: Move) -> list[Operation]:
    """Add the column as one of NULL, whatever the rows that come will have by default."""
    model = move.field.model._meta.model_name
    operations: list[Operation] = []
    for each in (move.new, *move.indexes):
        operations.append(AddField(model, each.name, each.made(without=FILLS_ROWS)))
        if any(name in each.options for name in FILLS_ROWS):
            state = AlterField(model, each.name, each.made())
            operations.append(SeparateDatabaseAndState(state_operations=[state]))
    return operations


def _migration(
    app_label: str, after: Migration, name: str, operations: list[Operation]
) -> Migration:
    number = (MigrationAutodetector.parse_number(after.name) or 0) + 1
    made = Migration(f"{number:04}_{name}", app_label)
    made.dependencies = [(app_label, after.name)]  # type: ignore[misc]  # as Django's own do it
    made.operations = operations  # type: ignore[misc]
    return made


def _first(app_label: str, field: Any) -> Migration:
    """Return the last migration of an app."""
    loader = MigrationLoader(None)
    leaves = loader.graph.leaf_nodes(app_label)
    if len(leaves) != 1:
        raise ConversionRefused(
            f"{field}: the app {app_label!r} has {len(leaves)} last migrations, and one is wanted. "
            "Run `python manage.py makemigrations` first."
        )
    detector = MigrationAutodetector(
        loader.project_state(),
        ProjectState.from_apps(apps),
        MigrationQuestioner(specified_apps={app_label}, dry_run=True),
    )
    changes = detector.changes(loader.graph, trim_to_apps={app_label}).get(app_label, [])
    # Not of other fields: theirs may be written, and their lines not pasted yet.
    if any(_is_about(each, field) for change in changes for each in change.operations):
        raise ConversionRefused(
            f"{field} is not what the migrations of {app_label!r} say. Run "
            f"`python manage.py makemigrations {app_label}` first."
        )
    last: Migration = loader.graph.nodes[leaves[0]]
    return last


def _is_about(operation: Any, field: Any) -> bool:
    """Whether an operation would change a field, or make its table."""
    model = field.model._meta.model_name
    if isinstance(operation, FieldOperation):
        return bool(
            operation.model_name_lower == model and operation.name_lower == field.name.lower()
        )
    return isinstance(operation, CreateModel) and operation.name_lower == model
