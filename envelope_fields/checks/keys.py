"""The keys' database: master keys against fields, and the audit trail's triggers."""

from collections.abc import Iterator, Sequence
from typing import Any

from django.core.checks import CheckMessage, Warning
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.db.models import Model

from envelope_fields.audit import triggers
from envelope_fields.checks.models import AppConfigs, checked_models, encrypted_fields
from envelope_fields.conf import configuration
from envelope_fields.fields.checks import check_key
from envelope_fields.models import AuditEvent, MasterKey, MasterKeyVersion
from envelope_fields.policy.data import key_policy


def check_aliases(
    app_configs: AppConfigs = None, databases: Sequence[str] | None = None, **_: Any
) -> list[CheckMessage]:
    """Look for the master keys that fields name by their alias."""
    using = keys_database(databases)
    if using is None:
        return []
    fields = [
        field
        for field in encrypted_fields(checked_models(app_configs))
        if isinstance(field.key, str) and not list(check_key(field))  # else E016 says so
    ]
    named = {field.key for field in fields}
    rows = MasterKey.objects.using(using).filter(alias__in=named)
    stored = dict(rows.values_list("alias", "pk"))
    return [*_missing(fields, stored, using), *_out_of_service(fields, stored, using)]


def check_triggers(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Look for the triggers on the table of events."""
    using = keys_database(databases, AuditEvent)
    if using is None or triggers.are_there(connections[using]):
        return []
    return [
        Warning(
            f"The table of audit events in the database {using!r} lacks the triggers that keep it "
            "append-only.",
            hint=(
                "Have a role that may make triggers run `python manage.py migrate`, which makes "
                "what is missing. On MariaDB with a binary log, the server also has to allow it: "
                "log_bin_trust_function_creators."
            ),
            id="envelope_fields.W060",
        )
    ]


def _out_of_service(fields: list[Any], stored: dict[Any, Any], using: str) -> Iterator[Warning]:
    for field in fields:
        if field.key in stored and not key_policy(stored[field.key], using).serves_fields:
            yield Warning(
                f"The master key {field.key!r} serves no fields: a user made it, or gave it this "
                "alias.",
                hint=(
                    "Saving a value fails. If the key is to serve the field, adopt it: "
                    f"`python manage.py adopt_master_key {field.key}`."
                ),
                obj=field,
                id="envelope_fields.W008",
            )


def _missing(fields: list[Any], stored: dict[Any, Any], using: str) -> list[CheckMessage]:
    return [
        Warning(
            f"No master key has the alias {field.key!r} in the database {using!r}.",
            hint=f"Make it with `python manage.py create_master_key {field.key}`.",
            obj=field,
            id="envelope_fields.W002",
        )
        for field in fields
        if field.key not in stored
    ]


def keys_database(databases: Sequence[str] | None, *others: type[Model]) -> str | None:
    """Return the database of the keys if it is to be checked and has their tables, and others."""
    try:
        using = configuration().database
    except ImproperlyConfigured:  # E001 says so
        return None
    if using not in (databases or ()):
        return None
    tables = connections[using].introspection.table_names()
    models: tuple[type[Model], ...] = (MasterKey, MasterKeyVersion, *others)
    return using if all(model._meta.db_table in tables for model in models) else None
