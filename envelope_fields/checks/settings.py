"""`ENVELOPE_FIELDS`, and the root key that new master keys would be wrapped by."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Error, Warning
from django.core.exceptions import ImproperlyConfigured

from envelope_fields import keyring
from envelope_fields.conf import SETTING, configuration
from envelope_fields.exceptions import RootKeyRefused, RootKeyUnavailable


def check_settings(**_: Any) -> list[CheckMessage]:
    """Check the settings, and ask the first root key whether it could wrap."""
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
    name = configured.wrapping_root_key
    try:
        keyring.check_root_key(name)
    except RootKeyUnavailable as error:
        return [unreachable(name, error)]
    except (ImproperlyConfigured, RootKeyRefused) as error:
        return [
            Error(
                f"New master keys cannot be wrapped. {error}",
                hint="Until it can, no value is encrypted, and none is read after a restart.",
                id="envelope_fields.E003",
            )
        ]
    return []


def unreachable(name: str, error: RootKeyUnavailable) -> CheckMessage:
    """Return the warning for a root key that may answer later; commands need not wait for it."""
    return Warning(
        f"The root key {name!r} cannot be reached: {error}",
        hint="Try again; until it answers, a process that starts can neither encrypt nor decrypt.",
        id="envelope_fields.W001",
    )
