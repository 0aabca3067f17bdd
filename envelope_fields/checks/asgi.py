"""What an ASGI server serves beside Django, without the middleware that says who is acting."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.checks import CheckMessage, Warning
from django.utils.module_loading import import_string

from envelope_fields.middleware import PrincipalASGIMiddleware

_OURS = f"{PrincipalASGIMiddleware.__module__}.{PrincipalASGIMiddleware.__qualname__}"
# What no user sends.
_NEEDS_NONE = ("lifespan", "channel")
_DEPTH = 20  # of middlewares and routers in each other


def check_channels(**_: Any) -> list[CheckMessage]:
    """Look whether the protocols that Channels serves are bound to their users."""
    if not apps.is_installed("channels") and find_spec("channels") is None:
        return []
    path = _path()
    application = _loaded(path)
    if application is None:
        where = f"in {path!r}, which could not be looked into"
        return [_unbound("websockets", where)] if _is_configured() else []
    served = getattr(_router(application, _DEPTH), "application_mapping", {})
    return [
        _unbound(name, f"around what {path!r} has for it")
        for name, app in served.items()
        if name not in _NEEDS_NONE and any(_serves(name, leaf) for leaf in _unbound_in(app, _DEPTH))
    ]


def _is_configured() -> bool:
    """Whether the settings speak of an application; other servers are told its name elsewhere."""
    return apps.is_installed("channels") or bool(getattr(settings, "ASGI_APPLICATION", None))


def _path() -> str:
    """Return where the application is: where the setting says, or where `startproject` puts it."""
    of_project = str(getattr(settings, "ROOT_URLCONF", "")).rpartition(".")[0]
    return getattr(settings, "ASGI_APPLICATION", None) or f"{of_project}.asgi.application"


def _loaded(path: str) -> Any:
    try:
        return import_string(path)
    except Exception:  # the server says what is wrong with it
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
        f"Channels may serve {protocol}, and {_OURS} is not {where}: without it, to the policy, "
        "each connection is the application itself.",
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
