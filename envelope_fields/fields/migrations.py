"""Refuses to migrate where a column would become encrypted, or plain, around its values.

`AlterField` changes the type of a column. Every database casts text to bytes without a word, so
that the plain values would stay, in a column that says it is encrypted.
"""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.apps import apps as installed_apps
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
    refusals = [_refusal(found, apps, using) for found in conversions(plan or [], using)]
    if any(refusals):
        raise ConversionRefused("\n".join(filter(None, refusals)))


def _refusal(conversion: Conversion, apps: Any, using: str) -> str:
    """Return why a conversion is refused, or nothing."""
    if conversion.place is None:
        return ""
    app_label, model_name, field_name = conversion.place
    model = apps.get_model(app_label, model_name)
    if not conversion.operation.allow_migrate_model(using, model):
        return ""
    count = count_values(model, field_name, using)
    if not count:
        return ""
    if conversion.encrypts:
        becomes, stays = "an encrypted field", "unencrypted"
    else:
        becomes, stays = "a field that is not encrypted", "encrypted"
    direction = "Reversing the migration" if conversion.backwards else "The migration"
    return (
        f"{direction} {conversion.migration} would make {model._meta.get_field(field_name)} "
        f"{becomes}, and leave its {count} values in the database {using!r} {stays}: none could "
        f"be read. Add a second column and copy the values into it, as {_HOW_TO} says. If they "
        "were converted by other means, the operation belongs into the state_operations of "
        "SeparateDatabaseAndState."
    )
