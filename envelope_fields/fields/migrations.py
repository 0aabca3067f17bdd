"""Refuses to migrate where a column would become encrypted, or plain, around its values.

`AlterField` changes the type of a column. Every database casts text to bytes without a word, so
that the plain values would stay, in a column that says it is encrypted.

Values are counted twice: before a plan runs, while nothing has happened yet; and right before the
operation, for what another migration of the plan has written into the column by then. An empty
column of a type that does not become bytes is refused as well, before the database does it.
"""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.apps import apps as installed_apps
from django.db.migrations import AlterField
from django.db.migrations.state import ProjectState
from django.db.models import Field
from django.db.models.signals import pre_migrate

from envelope_fields.documentation import page
from envelope_fields.exceptions import EnvelopeError
from envelope_fields.fields.migration_plan import Conversion, Place, Plan, conversions
from envelope_fields.fields.tables import count_values, lacks_cast

_HOW_TO = page("how-to/encrypt-an-existing-column")


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
        _look_again(conversion)


def _refusal_beforehand(conversion: Conversion, apps: Any, using: str) -> str:
    place = conversion.place
    if place is None:
        return ""
    field = apps.get_model(place.app_label, place.model_name)._meta.get_field(place.field_name)
    # The types are those that the column will have by then.
    return _refusal(conversion, field, conversion.was, conversion.becomes, using)


def _look_again(conversion: Conversion) -> None:
    """Have the operation look before it runs: no signal is sent between migrations."""
    operation = conversion.operation
    for method in ("database_forwards", "database_backwards"):
        vars(operation).pop(method, None)  # a plan that was run before in this process was here too
    # Django reverses an AlterField by running it forwards.
    reverses = conversion.backwards and not isinstance(operation, AlterField)
    method = "database_backwards" if reverses else "database_forwards"
    run = getattr(operation, method)

    def look_and_run(
        app_label: str, schema_editor: Any, from_state: ProjectState, to_state: ProjectState
    ) -> None:
        if not schema_editor.collect_sql:
            was, becomes = (_field_at(conversion.at, state) for state in (from_state, to_state))
            using = schema_editor.connection.alias
            refusal = _refusal(conversion, was, was, becomes, using)
            if refusal:
                raise ConversionRefused(refusal)
        run(app_label, schema_editor, from_state, to_state)

    setattr(operation, method, look_and_run)  # of this one alone


def _field_at(place: Place, state: ProjectState) -> Field[Any, Any]:
    model = state.apps.get_model(place.app_label, place.model_name)
    field: Field[Any, Any] = model._meta.get_field(place.field_name)
    return field


def _refusal(
    conversion: Conversion,
    field: Field[Any, Any],
    was: Field[Any, Any],
    becomes: Field[Any, Any],
    using: str,
) -> str:
    """Return why a conversion is refused, or nothing."""
    if not conversion.operation.allow_migrate_model(using, field.model):
        return ""
    direction = "Reversing the migration" if conversion.backwards else "The migration"
    is_to_be = "an encrypted field" if conversion.encrypts else "a field that is not encrypted"
    would = f"{direction} {conversion.migration} would make {field} {is_to_be}, and"
    count = count_values(field.model, field.name, using)
    if count:
        stay = "unencrypted" if conversion.encrypts else "encrypted"
        return (
            f"{would} leave its {count} values in the database {using!r} {stay}: none could "
            f"be read. Add a second column and copy the values into it: {_HOW_TO} says how. If "
            "they were converted by other means, the operation belongs into the state_operations "
            "of SeparateDatabaseAndState."
        )
    if lacks_cast(was, becomes, using):
        return (
            f"{would} the database {using!r} has no cast between the types of its column. Since "
            "it holds no values, remove the field and add it anew: write RemoveField and AddField "
            "in the place of this operation."
        )
    return ""
