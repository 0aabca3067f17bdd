"""Refuses to migrate where a column would become encrypted, or plain, around its values.

`AlterField` changes the type of a column. Every database casts text to bytes without a word, so
that the plain values would stay, in a column that says it is encrypted.

Values are counted twice: before a plan runs, while nothing has happened yet; and right before the
operation, for what another migration of the plan has written into the column by then.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from django.apps import AppConfig
from django.apps import apps as installed_apps
from django.db.migrations.state import ProjectState
from django.db.models import Field
from django.db.models.signals import pre_migrate

from envelope_fields.exceptions import EnvelopeError
from envelope_fields.fields.migration_plan import Conversion, Plan, conversions
from envelope_fields.fields.tables import count_values

_HOW_TO = "docs/how-to/encrypt-an-existing-column.md"


class ConversionRefused(EnvelopeError):
    """A migration would leave values behind in the wrong form."""

    # Not a CommandError: tests and deployments migrate by code too, and `call_command` is not the
    # only way there. Not a DatabaseError, which such code may catch and try again.


def connect(app: AppConfig) -> None:
    """Look at each plan before it is run."""
    pre_migrate.connect(_refuse, sender=app, dispatch_uid="envelope_fields.migrations")


def _refuse(*, using: str, plan: Plan | None = None, apps: Any = installed_apps, **_: Any) -> None:
    found = conversions(plan or [], using)
    refusals = [_refusal_beforehand(conversion, apps, using) for conversion in found]
    if any(refusals):
        raise ConversionRefused("\n".join(filter(None, refusals)))
    for conversion in found:
        _count_again(conversion)


def _refusal_beforehand(conversion: Conversion, apps: Any, using: str) -> str:
    if conversion.place is None:
        return ""
    app_label, model_name, field_name = conversion.place
    field = apps.get_model(app_label, model_name)._meta.get_field(field_name)
    return _refusal(conversion, field, using)


def _count_again(conversion: Conversion) -> None:
    """Have the operation count before it runs: no signal is sent between migrations."""
    operation = conversion.operation
    # Of the class: a plan that was run before in this process has been here too. Django goes
    # backwards through this method as well.
    run = partial(type(operation).database_forwards, operation)

    def database_forwards(
        app_label: str, schema_editor: Any, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        if not schema_editor.collect_sql:
            model = from_state.apps.get_model(app_label, operation.model_name)
            field: Any = model._meta.get_field(operation.name)
            refusal = _refusal(conversion, field, schema_editor.connection.alias)
            if refusal:
                raise ConversionRefused(refusal)
        run(app_label, schema_editor, from_state, to_state)

    operation.database_forwards = database_forwards  # type: ignore[method-assign]  # of this one alone


def _refusal(conversion: Conversion, field: Field[Any, Any], using: str) -> str:
    """Return why a conversion is refused, or nothing."""
    if not conversion.operation.allow_migrate_model(using, field.model):
        return ""
    count = count_values(field.model, field.name, using)
    if not count:
        return ""
    if conversion.encrypts:
        becomes, stays = "an encrypted field", "unencrypted"
    else:
        becomes, stays = "a field that is not encrypted", "encrypted"
    direction = "Reversing the migration" if conversion.backwards else "The migration"
    return (
        f"{direction} {conversion.migration} would make {field} "
        f"{becomes}, and leave its {count} values in the database {using!r} {stays}: none could "
        f"be read. Add a second column and copy the values into it, as {_HOW_TO} says. If they "
        "were converted by other means, the operation belongs into the state_operations of "
        "SeparateDatabaseAndState."
    )
