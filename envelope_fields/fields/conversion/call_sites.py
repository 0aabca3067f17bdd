"""Call sites that still find or order rows by a column in clear: each is logged once.

That is the nearest line of the project's own code. In a request that Django handles by itself,
there is none: then it is the class of the project by which it does, of the admin or of a view.
"""

import inspect
import logging
import sys
import sysconfig
from collections.abc import Iterator
from functools import cache, lru_cache
from types import FrameType, FunctionType
from typing import Any, NamedTuple

from django.db.models import Model, QuerySet
from django.db.models.manager import BaseManager

_logger = logging.getLogger("envelope_fields.fields.conversion")

# Whose code is looked through for the code that has called it.
_BETWEEN = frozenset(
    ("django", "envelope_fields", "asgiref", "asyncio", "concurrent", "threading", "contextvars")
)
# What handles a request: behind it are the server, and middleware, which does not know the view.
_HANDLERS = "django.core.handlers."
_INSTALLED = ("site-packages", "dist-packages", "<frozen ")

_noted: set[tuple[str, str, Any]] = set()


class CallSite(NamedTuple):
    """A line of code."""

    filename: str
    line: int

    def __str__(self) -> str:
        return f"{self.filename}:{self.line}"


def call_site() -> CallSite | None:
    """Return where the project has asked; None where that cannot be told."""
    installed = None
    for frame in _frames(sys._getframe(1)):
        if _package(frame.f_globals.get("__name__")) in _BETWEEN:
            continue
        found = CallSite(frame.f_code.co_filename, frame.f_lineno)
        if not _is_installed(found.filename):
            return found
        installed = installed or found
    return _declaration_of_project(sys._getframe(1)) or installed


def _frames(frame: FrameType | None) -> Iterator[FrameType]:
    """Yield the frames from one to what handles the request."""
    while frame is not None and not _handles(frame):
        yield frame
        frame = frame.f_back


def _handles(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).startswith(_HANDLERS)


def _package(module: Any) -> str:
    return str(module).partition(".")[0]


@cache
def _is_installed(filename: str) -> bool:
    """Whether a file belongs to Python, or to a package that is installed."""
    library = sysconfig.get_paths()["stdlib"]
    return filename.startswith(library) or any(each in filename for each in _INSTALLED)


def _declaration_of_project(frame: FrameType | None) -> CallSite | None:
    """Return where the project declares what Django is working for: a class, or a view."""
    while frame is not None:
        kind: Any = type(frame.f_locals.get("self"))
        found = None if issubclass(kind, _ASKED) else _declared(kind)
        if _handles(frame):  # a response may be rendered when its view is through
            found = _declared(_view(frame.f_locals.get("callback")))
        if found is not None or _handles(frame):
            return found
        frame = frame.f_back
    return None


def _view(callback: Any) -> Any:
    """Return what a view was made of."""
    admin = getattr(callback, "model_admin", None)
    made_of = type(admin) if admin is not None else getattr(callback, "view_class", None)
    return made_of or getattr(callback, "cls", None) or inspect.unwrap(callback or _view)


_ASKED = (Model, QuerySet, BaseManager)  # by others


def _declared(what: Any) -> CallSite | None:
    """Return where a class or function of the project is; None of others."""
    is_code = isinstance(what, type | FunctionType) and type(what).__hash__ is not None
    return _found(what) if is_code else None


@lru_cache(maxsize=256)  # some classes are made for one request
def _found(what: Any) -> CallSite | None:
    if _package(what.__module__) in _BETWEEN:
        return None
    try:
        found = CallSite(str(inspect.getsourcefile(what)), inspect.getsourcelines(what)[1])
    except (OSError, TypeError):
        return None
    return None if _is_installed(found.filename) else found


def note(field: Any, what: str, where: CallSite | None) -> None:
    """Log a call site that asks for the column in clear, if that was not done yet."""
    noted = (str(field), what, where)
    if noted in _noted:
        return
    _noted.add(noted)
    _logger.warning(
        "%s: %s goes through the column of %s in clear, and is refused when the conversion reads "
        "what is encrypted. %s",
        where or "code that Django has called by itself",
        what,
        field,
        f'Look for equal values by a blind index, `{field.name}_index = BlindIndexField("'
        f'{field.name}")`, and do the rest in Python.',
    )


def forget() -> None:
    """Log each call site once more."""
    _noted.clear()
