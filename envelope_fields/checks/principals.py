"""The middleware that binds requests and connections to their users: missing, or out of order."""

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning
from django.urls import URLResolver, get_resolver
from django.utils.module_loading import import_string

from envelope_fields.checks.keys import keys_database
from envelope_fields.checks.models import AppConfigs, checked_models, encrypted_fields
from envelope_fields.fields.keys import managed_by
from envelope_fields.fields.masks import MASK
from envelope_fields.middleware import PrincipalASGIMiddleware, PrincipalMiddleware
from envelope_fields.models import KeyGrant, KeyManager, MasterKey

_API = "envelope_fields.api."
_OURS = f"{PrincipalMiddleware.__module__}.{PrincipalMiddleware.__qualname__}"
_OUR_ASGI = f"{PrincipalASGIMiddleware.__module__}.{PrincipalASGIMiddleware.__qualname__}"
# Protocols over which no user sends anything.
_WITHOUT_USERS = ("lifespan", "channel")
_DEPTH = 20  # of middlewares and routers in each other


def check_grants(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """Look for grants that no request would be checked against."""
    using = keys_database(databases, KeyGrant)
    if using is None or _position_of(PrincipalMiddleware) is not None:
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
    """Look for fields that not every user may read, where nothing binds a request to its user."""
    if _position_of(PrincipalMiddleware) is not None:
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
    """Look for the key admin and the API, where rights are granted that would bind no user."""
    if _position_of(PrincipalMiddleware) is not None:
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
    """Check that the user is known where the middleware looks."""
    if not apps.is_installed("django.contrib.auth"):
        return []
    from django.contrib.auth.middleware import AuthenticationMiddleware  # it imports models

    ours, authentication = _position_of(PrincipalMiddleware), _position_of(AuthenticationMiddleware)
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


def _position_of(wanted: type) -> int | None:
    """Return the position of a middleware, or of a subclass of it, in the settings."""
    for position, path in enumerate(settings.MIDDLEWARE):
        try:
            middleware = import_string(path)
        except ImportError:  # Django says so when it loads them
            continue
        if isinstance(middleware, type) and issubclass(middleware, wanted):
            return position
    return None


def check_channels(**_: Any) -> list[CheckMessage]:
    """Look whether the protocols that Channels serves are bound to their users."""
    if not apps.is_installed("channels") and find_spec("channels") is None:
        return []
    path = _asgi_path()
    application = _loaded(path)
    if application is None:
        where = f"in {path!r}, which could not be looked into"
        return [_unbound("websockets", where)] if _is_configured() else []
    served = getattr(_router(application, _DEPTH), "application_mapping", {})
    return [
        _unbound(name, f"around what {path!r} has for it")
        for name, app in served.items()
        if name not in _WITHOUT_USERS
        and any(_serves(name, leaf) for leaf in _unbound_in(app, _DEPTH))
    ]


def _is_configured() -> bool:
    """Whether the settings speak of an application; other servers get its name elsewhere."""
    return apps.is_installed("channels") or bool(getattr(settings, "ASGI_APPLICATION", None))


def _asgi_path() -> str:
    """Return where the application is: where the setting says, or where `startproject` puts it."""
    of_project = str(getattr(settings, "ROOT_URLCONF", "")).rpartition(".")[0]
    return getattr(settings, "ASGI_APPLICATION", None) or f"{of_project}.asgi.application"


def _loaded(path: str) -> Any:
    try:
        return import_string(path)
    except Exception:  # the server reports what is wrong with it
        return None


def _router(app: Any, depth: int) -> Any:
    """Return the router of protocols, which middlewares may be around; None if ours is."""
    if depth == 0 or isinstance(app, PrincipalASGIMiddleware):
        return None
    if hasattr(app, "application_mapping"):
        return app
    inner = list(_inside(app))
    return _router(inner[0], depth - 1) if len(inner) == 1 else None


def _unbound(protocol: str, where: str) -> CheckMessage:
    return Warning(
        f"Channels may serve {protocol}, and {_OUR_ASGI} is not {where}: without it, to the "
        "policy, each connection is the application itself.",
        hint=(
            "Put it around the router, inside of what authenticates: "
            "AuthMiddlewareStack(PrincipalASGIMiddleware(URLRouter([...])))."
        ),
        id="envelope_fields.W007",
    )


def _unbound_in(app: Any, depth: int) -> Iterator[Any]:
    """Yield the applications that connections come to without passing ours."""
    if isinstance(app, PrincipalASGIMiddleware):
        return
    inner = list(_inside(app)) if depth else []
    if not inner:
        yield app
    for each in inner:
        yield from _unbound_in(each, depth - 1)


def _serves(protocol: str, app: Any) -> bool:
    """Whether an application serves a protocol beside Django, which binds its requests itself."""
    return protocol != "http" or hasattr(app, "consumer_class")


def _inside(app: Any) -> Iterator[Any]:
    """Yield the applications that a middleware or router of Channels passes connections on to."""
    for name in ("inner", "application", "app"):
        if hasattr(app, name):
            yield getattr(app, name)
    yield from (route.callback for route in getattr(app, "routes", ()))
    yield from getattr(app, "application_mapping", {}).values()
