"""Grants without the middleware that says who is acting, and a middleware in the wrong place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning
from django.urls import URLResolver, get_resolver
from django.utils.module_loading import import_string

from envelope_fields.checks.keys import keys_database
from envelope_fields.checks.references import AppConfigs, checked_models, encrypted_fields
from envelope_fields.fields.masking import MASK
from envelope_fields.fields.row_keys import managed_by
from envelope_fields.middleware import PrincipalMiddleware
from envelope_fields.models import KeyGrant, KeyManager, MasterKey

_API = "envelope_fields.api."
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
            "MIDDLEWARE: to the policy, every request comes from the application.",
            hint=f"Add {_OURS!r} behind AuthenticationMiddleware.",
            id="envelope_fields.E006",
        )
    ]


def check_declared(app_configs: AppConfigs = None, **_: Any) -> list[CheckMessage]:
    """Look for fields that not every user may read, where nothing says who the user is."""
    if _place_of(PrincipalMiddleware) is not None:
        return []
    return [
        Error(
            f"{field} {_is_guarded_by(field)}, and {_OURS} is not in MIDDLEWARE: to the policy, "
            "each request is the application itself, which may read it.",
            hint=f"Add {_OURS!r} behind AuthenticationMiddleware.",
            obj=field,
            id="envelope_fields.E009",
        )
        for field in encrypted_fields(checked_models(app_configs))
        if _is_guarded_by(field)
    ]


def _is_guarded_by(field: Any) -> str:
    """Say what keeps some users from reading a field; empty where nothing does by declaration."""
    if field.on_denied == MASK:
        return "shows dots to users who may not read it"
    if managed_by(field.key) == KeyManager.CUSTOMER:
        return "has keys that a customer manages"
    return ""


def check_surfaces(**_: Any) -> list[CheckMessage]:
    """Look for the key admin and the API, where rights are granted that would bind nobody."""
    if _place_of(PrincipalMiddleware) is not None:
        return []
    served = [name for name, is_served in _SURFACES.items() if is_served()]
    if not served:
        return []
    return [
        Warning(
            f"Rights on keys can be granted by {' and '.join(served)}, and {_OURS} is not in "
            "MIDDLEWARE: to the policy, each other request is the application itself.",
            hint=f"Add {_OURS!r} behind AuthenticationMiddleware.",
            id="envelope_fields.W006",
        )
    ]


def _has_admin() -> bool:
    if not apps.is_installed("django.contrib.admin"):
        return False
    from django.contrib.admin.sites import all_sites

    return any(site.is_registered(MasterKey) for site in all_sites)


def _has_api() -> bool:
    if not apps.is_installed("rest_framework") or not getattr(settings, "ROOT_URLCONF", None):
        return False
    try:
        return _leads_to_api(get_resolver())
    except Exception:  # Django's own check of addresses says what is wrong with them
        return False


def _leads_to_api(resolver: URLResolver) -> bool:
    return any(
        _leads_to_api(pattern) if isinstance(pattern, URLResolver) else _is_of_api(pattern.callback)
        for pattern in resolver.url_patterns
    )


def _is_of_api(view: Any) -> bool:
    return getattr(view, "__module__", "").startswith(_API)


_SURFACES = {"the key admin": _has_admin, "the HTTP API": _has_api}


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
