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
# Django has a middleware of its own; the other two have no user.
_NEEDS_NONE = ("http", "lifespan", "channel")
_DEPTH = 20  # of middlewares and routers in each other


def check_channels(**_: Any) -> list[CheckMessage]:
    """Look whether the protocols that Channels serves are bound to their users."""
    if not _has_channels():
        return []
    path = _path()
    application = _loaded(path)
    if application is None:
        return [_unbound("websockets", f"in {path!r}, which could not be looked into")]
    served = getattr(_router(application, _DEPTH), "application_mapping", {})
    return [
        _unbound(name, f"around what {path!r} has for it")
        for name, app in served.items()
        if name not in _NEEDS_NONE and not _is_bound(app, _DEPTH)
    ]


def _has_channels() -> bool:
    if apps.is_installed("channels"):
        return True
    return bool(getattr(settings, "ASGI_APPLICATION", None)) and find_spec("channels") is not None


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


def _is_bound(app: Any, depth: int) -> bool:
    """Whether ours is around whatever an application leads to."""
    if isinstance(app, PrincipalASGIMiddleware):
        return True
    inner = list(_inside(app))
    return depth > 0 and bool(inner) and all(_is_bound(each, depth - 1) for each in inner)


def _inside(app: Any) -> Iterator[Any]:
    """Yield the applications that a middleware or router of Channels passes connections on to."""
    for name in ("inner", "application", "app"):
        if hasattr(app, name):
            yield getattr(app, name)
    yield from (route.callback for route in getattr(app, "routes", ()))
    yield from getattr(app, "application_mapping", {}).values()
