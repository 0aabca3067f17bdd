"""Grants without the middleware that says who is acting, and a middleware in the wrong place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error
from django.utils.module_loading import import_string

from envelope_fields.checks.keys import keys_database
from envelope_fields.middleware import PrincipalMiddleware
from envelope_fields.models import KeyGrant

_OURS = f"{PrincipalMiddleware.__module__}.{PrincipalMiddleware.__qualname__}"


def check_grants(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Look for grants that nobody's requests would be checked against."""
    using = keys_database(databases, KeyGrant)
    if using is None or _place_of(PrincipalMiddleware) is not None:
        return []
    if not KeyGrant.objects.using(using).exists():
        return []
    return [
        Error(
            f"Grants on master keys are stored in the database {using!r}, and {_OURS} is not in "
            "MIDDLEWARE: to the policy, whoever sends a request is the application.",
            hint=f"Add {_OURS!r} behind AuthenticationMiddleware.",
            id="envelope_fields.E006",
        )
    ]


def check_middleware(**_: Any) -> list[CheckMessage]:
    """Check that whoever is acting is known where the middleware looks."""
    if not apps.is_installed("django.contrib.auth"):
        return []
    from django.contrib.auth.middleware import AuthenticationMiddleware  # it imports models

    ours, authentication = _place_of(PrincipalMiddleware), _place_of(AuthenticationMiddleware)
    if ours is None or authentication is None or authentication < ours:
        return []
    return [
        Error(
            f"{_OURS} stands before AuthenticationMiddleware in MIDDLEWARE.",
            hint=(
                "What stands between them is taken for anonymous. Move it behind "
                "AuthenticationMiddleware."
            ),
            id="envelope_fields.E007",
        )
    ]


def _place_of(wanted: type) -> int | None:
    """Return where a middleware, or a subclass of it, is in the settings."""
    for place, path in enumerate(settings.MIDDLEWARE):
        try:
            middleware = import_string(path)
        except ImportError:  # Django says so when it loads them
            continue
        if isinstance(middleware, type) and issubclass(middleware, wanted):
            return place
    return None
