"""The requests that this process is handling.

While there is one, code that nobody is bound to is refused: it may be doing what a user asked.
The count is of the process, because the context is lost where it matters: under ASGI, signals are
sent in a task of their own, and a bare thread begins with an empty context.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from weakref import ref

from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_finished, request_started, setting_changed

_KEY = "envelope_fields.handling"  # in the WSGI environ or the ASGI scope

# The ids of what is in flight. Every value that is read or written looks whether it is empty.
in_flight: set[int] = set()
_told_by_signals: set[int] = set()  # those among them of whose start Django has told


class Handling:
    """A request, from its start until it is over; at the latest until nothing refers to it."""

    def __init__(
        self,
        outer: Handling | None = None,
        by_test_client: bool = False,
        told_by_signal: bool = False,
    ) -> None:
        self.by_test_client = by_test_client
        # Weak, like every reference of ours: a request whose end nobody tells must not last.
        self.outer = _no_handling if outer is None else ref(outer)
        in_flight.add(id(self))
        if told_by_signal:
            _told_by_signals.add(id(self))

    def end(self) -> None:
        in_flight.discard(id(self))
        _told_by_signals.discard(id(self))

    def __del__(self) -> None:
        self.end()


def _no_handling() -> None:
    return None


_here: ContextVar[Any] = ContextVar("envelope_fields.handling", default=_no_handling)


@contextmanager
def handled() -> Iterator[None]:
    """Count a request while the code inside runs, whoever runs it."""
    handling = Handling()
    try:
        yield
    finally:
        handling.end()


def end_with(request: Any, response: Any) -> None:
    """Let a request end when its response is closed, where signals told of its start."""
    carrier = getattr(request, "scope", request.META)
    handling = carrier.get(_KEY)
    if handling is None:
        return
    if response.streaming and handling.by_test_client:
        # Nobody closes a stream that a test does not read, and the test goes on.
        handling.end()
        return

    def close() -> None:
        handling.end()
        _here.set(ref(handling))  # the signal that follows is of this request

    response._resource_closers.append(close)


def count_requests() -> None:
    """Count requests by Django's signals, so that middlewares outside of ours are in them, too."""
    request_started.connect(_started, dispatch_uid="envelope_fields.requests")
    request_finished.connect(_finished, dispatch_uid="envelope_fields.requests")


def _started(*, sender: Any = None, environ: Any = None, scope: Any = None, **_: Any) -> None:
    by_test_client = getattr(sender, "__module__", "") == "django.test.client"
    handling = Handling(_here.get()(), by_test_client, told_by_signal=True)
    carrier = scope if environ is None else environ
    if carrier is not None:
        carrier[_KEY] = handling
    _here.set(ref(handling))


def _finished(*, sender: Any = None, **_: Any) -> None:
    handling = _here.get()()
    if handling is not None:
        handling.end()
        _here.set(handling.outer)
    elif len(_told_by_signals) == 1 and not _is_wsgi(sender):
        # Under ASGI, of a request that did not come to our middleware. It is still counted
        # itself, so if there is but one, it is that.
        in_flight.difference_update(_told_by_signals)
        _told_by_signals.clear()


def _is_wsgi(handler: Any) -> bool:
    return isinstance(handler, type) and issubclass(handler, WSGIHandler)


def _middleware_changed(*, setting: str, **_: Any) -> None:
    if setting == "MIDDLEWARE":  # whoever is loaded next connects again
        request_started.disconnect(dispatch_uid="envelope_fields.requests")
        request_finished.disconnect(dispatch_uid="envelope_fields.requests")


setting_changed.connect(_middleware_changed, dispatch_uid="envelope_fields.requests")
