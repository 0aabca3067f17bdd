"""The requests that this process is handling, and where each came from.

While there is one, unbound code is refused: it may be doing what a user asked. The count is of the
process, because the context is lost where it matters: under ASGI, signals are sent in a task of
their own, and a bare thread begins with an empty context.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary, ref

from asgiref.sync import SyncToAsync
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_finished, request_started, setting_changed


@dataclass(frozen=True, slots=True)
class Origin:
    """The address and id of a request; both empty outside requests."""

    address: str = ""
    request_id: str = ""


NOWHERE = Origin()

_origin: ContextVar[Origin] = ContextVar("envelope_fields.origin", default=NOWHERE)
origin = _origin.get  # of the request that is handled in this context


@contextmanager
def coming_from(where: Origin) -> Iterator[None]:
    """Let `origin()` return this inside."""
    before = origin()
    _origin.set(where)
    try:
        yield
    finally:
        _origin.set(before)


_KEY = "envelope_fields.handling"  # in the WSGI environ or the ASGI scope
_UID = "envelope_fields.requests"  # of our receivers

# The ids of what is in flight. Every value that is read or written looks whether it is empty.
in_flight: set[int] = set()
_by_signal: set[int] = set()  # those among them of whose start Django has told


class Handling:
    """A request, from its start until it is over; at the latest until nothing refers to it."""

    def __init__(
        self, outer: Any = None, by_test_client: bool = False, by_signal: bool = False
    ) -> None:
        self.by_test_client = by_test_client
        # Weak, like every reference of ours: a request whose end is not signalled must not last.
        self.outer = _no_handling if outer is None else ref(outer)
        in_flight.add(id(self))
        if by_signal:
            _by_signal.add(id(self))

    def end(self) -> None:
        in_flight.discard(id(self))
        _by_signal.discard(id(self))

    def __del__(self) -> None:
        self.end()


def _no_handling() -> None:
    return None


_here: ContextVar[Any] = ContextVar("envelope_fields.handling", default=_no_handling)
# Under ASGI, by what asgiref keeps the threads of a request by: both signals are sent in its
# context, each in a task of its own, and the last one behind a view that still runs in a thread.
_in_threads: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
_threads = SyncToAsync.thread_sensitive_context


@contextmanager
def handled() -> Iterator[None]:
    """Count a request while the code inside runs, in whatever thread."""
    handling = Handling()
    try:
        yield
    finally:
        handling.end()


def end_with(request: Any, response: Any) -> None:
    """Let a request end when its response is closed, where signals told of its start."""
    scope_or_meta = getattr(request, "scope", request.META)
    handling = scope_or_meta.get(_KEY)
    if handling is None:
        return
    if response.streaming and handling.by_test_client:
        # A stream that a test does not read is not closed, and the test goes on.
        handling.end()
        if _here.get()() is handling:  # else the next end would be taken for that of this one
            _here.set(handling.outer)
        return

    def close() -> None:
        handling.end()
        _here.set(ref(handling))  # the signal that follows is of this request

    response._resource_closers.append(close)


def count_requests() -> None:
    """Count requests by Django's signals, so that middlewares outside of ours are in them, too."""
    request_started.connect(_started, dispatch_uid=_UID)
    request_finished.connect(_finished, dispatch_uid=_UID)


def _started(*, sender: Any = None, environ: Any = None, scope: Any = None, **_: Any) -> None:
    by_test_client = getattr(sender, "__module__", "") == "django.test.client"
    handling = Handling(_here.get()(), by_test_client, by_signal=True)
    scope_or_meta = scope if environ is None else environ
    if scope_or_meta is not None:
        scope_or_meta[_KEY] = handling
    threads = _threads.get(None)
    if threads is not None:
        _in_threads.setdefault(threads, ref(handling))
    _here.set(ref(handling))


def _finished(*, sender: Any = None, **_: Any) -> None:
    threads = _threads.get(None)
    handling = _here.get()()
    if handling is None and threads is not None:
        handling = _in_threads.get(threads, _no_handling)()
    if handling is not None:
        handling.end()
        _here.set(handling.outer)
    elif threads is None and len(_by_signal) == 1 and not _is_wsgi(sender):
        # By the asynchronous test client, of a request that did not come to our middleware. It is
        # still counted itself, so if there is but one, it is that.
        in_flight.difference_update(_by_signal)
        _by_signal.clear()


def _is_wsgi(handler: Any) -> bool:
    return isinstance(handler, type) and issubclass(handler, WSGIHandler)


def _middleware_changed(*, setting: str, **_: Any) -> None:
    if setting == "MIDDLEWARE":  # what is loaded next connects again
        request_started.disconnect(dispatch_uid=_UID)
        request_finished.disconnect(dispatch_uid=_UID)


setting_changed.connect(_middleware_changed, dispatch_uid=_UID)
