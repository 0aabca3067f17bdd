"""New encrypted columns of tables with rows: each row gets a value, or the migration is refused.

Without a default, MariaDB gives rows no bytes, silently, in a column without NULL: that is not
an envelope, and could not be read. It may also be a column that comes back when its removal is
reversed.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from django.db.migrations import AddField, RemoveField
from django.db.migrations.state import ProjectState

from envelope_fields.databases.tables import has_rows
from envelope_fields.exceptions import EnvelopeError
from envelope_fields.migrating.plan import Plan, done_to, is_encrypted, run_within


class NoValueForRows(EnvelopeError):
    """A migration would add a column in which the rows of a table would have no value."""


def look(*, plan: Plan | None = None, **_: Any) -> None:
    """Have operations of a plan that add a column look for such rows before they run."""
    for migration, backwards in plan or []:
        kind, method = (RemoveField, "backwards") if backwards else (AddField, "forwards")
        for operation in done_to("database_operations", migration.operations):
            if isinstance(operation, kind):
                run_within(operation, f"database_{method}", partial(_looked_before, operation))


@contextmanager
def _looked_before(
    operation: Any, app_label: str, schema_editor: Any, before: ProjectState, after: ProjectState
) -> Iterator[None]:
    key = (app_label, operation.model_name_lower)
    model = after.models.get(key)
    field = None if model is None else model.fields.get(operation.name)
    if field is not None and is_encrypted(field):
        given = operation.field or field  # of which a default may not be kept
        has_default = schema_editor._effective_default(given) is not None
        if not (field.null or has_default or field.has_db_default()):
            _refuse_rows(operation, before.apps.get_model(*key), schema_editor)
    yield


def _refuse_rows(operation: Any, model: Any, schema_editor: Any) -> None:
    using = schema_editor.connection.alias
    if operation.allow_migrate_model(using, model) and has_rows(model, using):
        raise NoValueForRows(
            f"{operation.describe()}: {model._meta.label}.{operation.name} takes no NULL and has "
            f"no default, and the rows of its table in the database {using!r} would have no value. "
            "Give it a default=, or null=True."
        )
