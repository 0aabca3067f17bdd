"""The keys' database: master keys against root keys and fields, and the audit trail's triggers."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from django.core.checks import CheckMessage, Error, Warning
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.db.models import Model

from envelope_fields import keyring
from envelope_fields.audit import triggers
from envelope_fields.checks.models import AppConfigs, checked_models, encrypted_fields
from envelope_fields.checks.settings import unreachable
from envelope_fields.conf import configuration
from envelope_fields.exceptions import RootKeyRefused, RootKeyUnavailable
from envelope_fields.fields.checks import check_key
from envelope_fields.models import AuditEvent, KeyState, MasterKey, MasterKeyVersion
from envelope_fields.policy.data import key_policy

VERSIONS_TRIED = 100  # for each root key, the newest: each may take a request to a server
VERSIONS_NAMED = 5


def check_stored_versions(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Have each root key open the newest master key versions that it wrapped."""
    using = keys_database(databases)
    if using is None:
        return []
    return [
        message
        for root_key, version_ids in _versions(using).items()
        for message in _opened(root_key, version_ids)
    ]


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


def _versions(using: str) -> dict[str, list[bytes]]:
    """Return the ids of the versions that can still be needed, newest first, by root key."""
    stored = (
        MasterKeyVersion.objects.using(using)
        .exclude(state=KeyState.DESTROYED)
        .exclude(master_key__state=KeyState.DESTROYED)
        .order_by("root_key", "-pk")
        .values_list("root_key", "version_id")
    )
    found = defaultdict(list)
    for root_key, version_id in stored:
        found[root_key].append(bytes(version_id))
    return found


def _opened(root_key: str, version_ids: list[bytes]) -> Iterator[CheckMessage]:
    tried, refused = version_ids[:VERSIONS_TRIED], []
    for version_id in tried:
        try:
            keyring.check_version(version_id)
        except RootKeyRefused:
            refused.append(version_id)
        except RootKeyUnavailable as error:
            yield unreachable(root_key, error)
            break
        except ImproperlyConfigured as error:  # then it opens none of them
            yield Error(
                f"{len(version_ids)} stored master key version(s) cannot be opened. {error}",
                hint="Values under them can be neither read nor written until it is back.",
                id="envelope_fields.E004",
            )
            break
    if refused:
        yield Error(
            f"The root key {root_key!r} does not open {len(refused)} of the {len(tried)} newest "
            f"master key versions that it is said to have wrapped: {_named(refused)}.",
            hint=(
                "Values under them cannot be read. Set the root key that wrapped them; if it is "
                "the right one, the rows were altered: restore them from a backup of the keys."
            ),
            id="envelope_fields.E005",
        )


def _named(version_ids: list[bytes]) -> str:
    names = ", ".join(version_id.hex() for version_id in version_ids[:VERSIONS_NAMED])
    more = len(version_ids) - VERSIONS_NAMED
    return f"{names} and {more} more" if more > 0 else names
