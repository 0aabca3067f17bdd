"""What the settings name: root keys, workers, databases, their drivers, and serializers."""

from collections.abc import Iterable, Iterator
from importlib import import_module
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning
from django.core.exceptions import ImproperlyConfigured
from django.core.serializers import BUILTIN_SERIALIZERS
from django.core.serializers.python import Serializer as PythonSerializer
from django.core.serializers.xml_serializer import Serializer as XMLSerializer
from django.db import connections

from envelope_fields import keyring
from envelope_fields.checks.models import AppConfigs, all_models, encrypted_fields
from envelope_fields.conf import SETTING, configuration
from envelope_fields.databases import database, may_live_in, unknown_vendor
from envelope_fields.exceptions import RootKeyRefused, RootKeyUnavailable
from envelope_fields.jobs import dispatch
from envelope_fields.root_keys import MayNotUnwrap

_OUR_SERIALIZERS = "envelope_fields.fixtures."


def check_settings(**_: Any) -> list[CheckMessage]:
    """Check our settings, and ask the first root key whether it could wrap, if it is here."""
    try:
        configured = configuration()
        configured.schemas.check()
    except ImproperlyConfigured as error:
        return [
            Error(
                str(error),
                hint=f"Correct {SETTING} in the settings.",
                id="envelope_fields.E001",
            )
        ]
    if not configured.root_keys:
        return [
            Error(
                f'{SETTING}["ROOT_KEYS"] names no root key, and master keys are stored only '
                "wrapped by one.",
                hint="Add one; `python manage.py generate_root_key` makes its value.",
                id="envelope_fields.E002",
            )
        ]
    return _asked(configured.wrapping_root_key, ask_services=False)


def check_root_keys(**_: Any) -> list[CheckMessage]:
    """Ask each root key that is a service whether it can wrap and unwrap: with `--deploy` alone."""
    known = check_settings()
    try:
        names = configuration().root_keys
    except ImproperlyConfigured:  # E001 says so
        return []
    found = (message for name in names for message in _asked(name, ask_services=True))
    return [message for message in found if message not in known]


def _asked(name: str, *, ask_services: bool) -> list[CheckMessage]:
    try:
        keyring.check_root_key(name, ask_services=ask_services)
    except RootKeyUnavailable as error:
        return [unreachable(name, error)]
    except MayNotUnwrap as error:
        return [
            Warning(
                f"The root key {name!r} lets this process wrap and not unwrap: {error}",
                hint=(
                    "Keys can be made here; no value can be read. Where that is meant, silence "
                    "this, and run `python manage.py open_master_key_versions` elsewhere."
                ),
                id="envelope_fields.W003",
            )
        ]
    except (ImproperlyConfigured, RootKeyRefused) as error:
        return [
            Error(
                f"The root key {name!r} cannot be used. {error}",
                hint="Until it can, no value is encrypted, and none is read after a restart.",
                id="envelope_fields.E003",
            )
        ]
    return []


def unreachable(name: str, error: RootKeyUnavailable) -> CheckMessage:
    """Return the warning for a root key that may answer later; commands do not wait for it."""
    return Warning(
        f"The root key {name!r} cannot be reached: {error}",
        hint="Try again; until it answers, a process that starts can neither encrypt nor decrypt.",
        id="envelope_fields.W001",
    )


def check_driver(**_: Any) -> list[CheckMessage]:
    """Check that psycopg 3 connects to PostgreSQL."""
    aliases = [alias for alias in connections if not database(alias).returns_bytes()]
    if not aliases:
        return []
    return [
        Error(
            f"Django uses psycopg 2 for {', '.join(map(repr, aliases))}, which does not give bytes "
            "back as they were stored: values would be written, and none would be read.",
            hint='Install psycopg 3: `pip install "django-envelope-fields[postgresql]"`.',
            id="envelope_fields.E070",
        )
    ]


def check_vendors(**_: Any) -> list[CheckMessage]:
    """Check that keys and values are in databases whose statements there are."""
    try:
        keys = configuration().database
    except ImproperlyConfigured:  # E001 says so
        return []
    models = {field.model for field in encrypted_fields(all_models(None))}
    return [
        Error(
            f"The database {alias!r} is {vendor}, and keys or encrypted values may be in it: it is "
            "not known how they are counted, moved and kept unaltered there.",
            hint="Use PostgreSQL, MariaDB or SQLite, or have a router keep these models out of it.",
            id="envelope_fields.E072",
        )
        for alias in connections
        if (vendor := unknown_vendor(connections[alias]))
        and (alias == keys or any(may_live_in(alias, model) for model in models))
    ]


def check_tenant_apps(**_: Any) -> list[CheckMessage]:
    """Check that packages which give each tenant a schema keep keys in the shared one.

    A process knows keys for a while, whatever the search path is by then: a value of one tenant
    would be written under a key in the schema of another.
    """
    return [
        Error(
            f"{setting} has envelope_fields: each tenant's schema has keys of its own, and a "
            "process that goes from one schema to another writes values under the keys of the "
            "first, which the second cannot open.",
            hint="Name it among the shared apps alone. Each tenant has a key by TenantKey.",
            id="envelope_fields.E073",
        )
        for setting, names in _apps_of_tenants()
        if any(str(name).partition(".")[0] == "envelope_fields" for name in names)
    ]


def _apps_of_tenants() -> Iterator[tuple[str, Iterable[Any]]]:
    """Yield what django-tenants and django-pgschemas are given for the schemas of tenants."""
    yield "TENANT_APPS", getattr(settings, "TENANT_APPS", ())
    for setting in ("TENANT_TYPES", "TENANTS"):
        kinds = getattr(settings, setting, None)
        for kind, options in kinds.items() if isinstance(kinds, dict) else ():
            if kind != "public" and isinstance(options, dict):
                yield f'{setting}["{kind}"]["APPS"]', options.get("APPS", ())


def check_worker(**_: Any) -> list[CheckMessage]:
    """Check that the worker that the settings name can be made."""
    try:
        if configuration().rotation_worker is None:
            return []
    except ImproperlyConfigured:  # E001 says so
        return []
    try:
        dispatch.worker()
    except Exception as error:  # a worker of the project's own may raise any
        problem = error if isinstance(error, ImproperlyConfigured) else type(error).__name__
        return [
            Error(
                f"No worker can be given a rotation: {problem}",
                hint=f'Correct {SETTING}["ROTATION_WORKER"], or install what it needs.',
                id="envelope_fields.E071",
            )
        ]
    return []


def check_serializers(app_configs: AppConfigs = None, **_: Any) -> list[CheckMessage]:
    """Check the serializers in `SERIALIZATION_MODULES`: they may write values in plain.

    Django's serializers ask a field for text, which for an encrypted field is that of an envelope,
    unless the value is a number, a boolean or a date: those they write as they are. The XML one
    always asks.
    """
    if next(encrypted_fields(all_models(app_configs)), None) is None:
        return []
    modules = getattr(settings, "SERIALIZATION_MODULES", {})
    return [
        Warning(
            f"SERIALIZATION_MODULES[{name!r}] is {path!r}, which may write values of encrypted "
            "fields into fixtures unencrypted.",
            hint=(
                "Derive its Serializer from that of envelope_fields.fixtures, or silence this "
                "if its handle_field() calls field.value_to_string() for every value."
            ),
            id="envelope_fields.W050",
        )
        for name, path in modules.items()
        if _may_reveal(name, path)
    ]


def _may_reveal(name: str, path: str) -> bool:
    try:
        serializer = import_module(path).Serializer
    except (ImportError, AttributeError):  # Django says so when it is used
        return False
    if not isinstance(serializer, type) or issubclass(serializer, XMLSerializer):
        return False
    if any(base.__module__.startswith(_OUR_SERIALIZERS) for base in serializer.__mro__):
        return False
    return name in BUILTIN_SERIALIZERS or issubclass(serializer, PythonSerializer)
