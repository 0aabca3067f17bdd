"""The keys' database: master keys against fields, versions against root keys, the audit trail."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from django.core.checks import CheckMessage, Error, Warning
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.db.models import Exists, Model, OuterRef, Q, QuerySet

from envelope_fields import keyring, models
from envelope_fields.audit import triggers
from envelope_fields.checks.models import AppConfigs, checked_models, encrypted_fields
from envelope_fields.checks.settings import unreachable
from envelope_fields.conf import configuration
from envelope_fields.exceptions import (
    EnvelopeError,
    MasterKeyNotFound,
    RootKeyRefused,
    RootKeyUnavailable,
    quantity,
)
from envelope_fields.fields.checks import check_key
from envelope_fields.keyring.rows import further_wraps_of
from envelope_fields.policy.data import key_policy

VERSIONS_TRIED = 100  # for each root key, the newest: each may take a request to a server
VERSIONS_NAMED = 5


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
    rows = models.MasterKey.objects.using(using).filter(alias__in=named)
    stored = dict(rows.values_list("alias", "pk"))
    return [*_missing(fields, stored, using), *_out_of_service(fields, stored, using)]


def check_triggers(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Look for the triggers on the table of events."""
    using = keys_database(databases, models.AuditEvent)
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
    wanted: tuple[type[Model], ...] = (models.MasterKey, models.MasterKeyVersion, *others)
    return using if all(model._meta.db_table in tables for model in wanted) else None


# -- Versions, against the root keys that wrap them ------------------------------------------------


_Wrapped = dict[bytes, bool]  # by version id, newest first: whether another root key wraps it, too


def check_stored_versions(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Have each root key open the newest master key versions that it wrapped."""
    using = keys_database(databases)
    if using is None:
        return []
    return [
        message
        for root_key, wrapped in sorted(_wrapped(using).items())
        for message in _opened(root_key, wrapped)
    ]


def check_further_wraps(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Look for versions that further root keys are to wrap, and do not."""
    using = keys_database(databases, models.FurtherWrap)
    if using is None:
        return []
    wraps = models.FurtherWrap.objects.using(using).filter(version_id=OuterRef("version_id"))
    there = wraps.exclude(wrapped_material=models.OVERWRITTEN)
    messages: list[CheckMessage] = []
    for root_key in configuration().root_keys:
        further = configuration().wrapped_by[root_key][1:]
        versions = _needed(using).filter(root_key=root_key)
        for name in further:
            missing = versions.filter(~Q(Exists(there.filter(root_key=name)))).count()
            if missing:
                messages.append(_not_wrapped(root_key, name, missing))
    return messages


def _not_wrapped(root_key: str, further: str, number: int) -> CheckMessage:
    return Warning(
        f"The root key {further!r} is to wrap what {root_key!r} wraps, as the entry of that says, "
        f"and does not wrap {quantity(number, 'master key version')} of it.",
        hint="Where the first is lost, so are they. Run `python manage.py rewrap_master_keys`.",
        id="envelope_fields.W005",
    )


def _needed(using: str) -> QuerySet[models.MasterKeyVersion]:
    """Return the versions that can still be needed, newest first."""
    versions = models.MasterKeyVersion.objects.using(using).exclude(state=models.KeyState.DESTROYED)
    return versions.exclude(master_key__state=models.KeyState.DESTROYED).order_by("-pk")


def _wrapped(using: str) -> dict[str, _Wrapped]:
    """Return what each root key wraps."""
    stored = _needed(using).values_list("root_key", "version_id")
    own = {bytes(version_id): root_key for root_key, version_id in stored}
    further = further_wraps_of(list(own))
    found: dict[str, _Wrapped] = defaultdict(dict)
    for version_id, root_key in own.items():
        root_keys = {root_key, *(wrap.root_key for wrap in further.get(version_id, ()))}
        for each in root_keys:
            found[each][version_id] = len(root_keys) > 1
    return found


def _opened(root_key: str, wrapped: _Wrapped) -> Iterator[CheckMessage]:
    tried, refused = list(wrapped)[:VERSIONS_TRIED], []
    for version_id in tried:
        try:
            keyring.check_wrap(version_id, root_key)
        except (RootKeyRefused, MasterKeyNotFound):  # its id holds no bytes
            refused.append(version_id)
        except RootKeyUnavailable as error:
            yield unreachable(root_key, error)
            break
        except ImproperlyConfigured as error:  # then it opens none of them
            yield from _misconfigured(root_key, wrapped, error)
            break
    if refused:
        yield from _refused(root_key, wrapped, refused, len(tried))


def _misconfigured(
    root_key: str, wrapped: _Wrapped, error: ImproperlyConfigured
) -> Iterator[CheckMessage]:
    tried = list(wrapped)[:VERSIONS_TRIED]
    opened = {each for each in tried if wrapped[each] and _is_opened(each)}
    lost = [each for each in wrapped if each not in opened]
    if opened:
        yield _opened_by_others(root_key, list(opened), f" {error}")
    if lost:
        yield Error(
            f"{quantity(len(lost), 'stored master key version')} cannot be opened. {error}",
            hint="Values under them can be neither read nor written until it is back.",
            id="envelope_fields.E004",
        )


def _refused(
    root_key: str, wrapped: _Wrapped, refused: list[bytes], tried: int
) -> Iterator[CheckMessage]:
    opened = [each for each in refused if wrapped[each] and _is_opened(each)]
    lost = [each for each in refused if each not in opened]
    if opened:
        yield _opened_by_others(root_key, opened)
    if lost:
        others = (
            " If it is lost, take it out of the settings: others open what they wrap, too."
            if any(wrapped[each] for each in lost)
            else ""
        )
        yield Error(
            f"The root key {root_key!r} does not open {len(lost)} of the {tried} newest "
            f"master key versions that it is said to have wrapped: {_named(lost)}.",
            hint=(
                "Values under them cannot be read. Set the root key that wrapped them; if it is "
                "the right one, the rows were altered: restore them from a backup of the keys."
                f"{others}"
            ),
            id="envelope_fields.E005",
        )


def _opened_by_others(root_key: str, version_ids: list[bytes], reason: str = "") -> CheckMessage:
    return Warning(
        f"The root key {root_key!r} does not open master key versions that other root keys open: "
        f"{_named(version_ids)}.{reason}",
        hint=(
            "Values under them can be read, as long as these are there. Correct the root key, or "
            "take it out of the settings, and run `python manage.py rewrap_master_keys`."
        ),
        id="envelope_fields.W004",
    )


def _is_opened(version_id: bytes) -> bool:
    """Whether any root key opens a version."""
    try:
        keyring.check_version(version_id)
    except (EnvelopeError, ImproperlyConfigured):
        return False
    return True


def _named(version_ids: list[bytes]) -> str:
    names = ", ".join(version_id.hex() for version_id in version_ids[:VERSIONS_NAMED])
    more = len(version_ids) - VERSIONS_NAMED
    return f"{names} and {more} more" if more > 0 else names
