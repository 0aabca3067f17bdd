"""Where a request came from: bound by the middleware, for the audit trail."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Origin:
    """The address and id of a request; both empty outside requests."""

    address: str = ""
    request_id: str = ""


NOWHERE = Origin()

current_origin: ContextVar[Origin] = ContextVar("envelope_fields.origin", default=NOWHERE)


def origin() -> Origin:
    """Return where the request came from that is handled in this context."""
    return current_origin.get()


@contextmanager
def coming_from(where: Origin) -> Iterator[None]:
    """Let `origin()` return this inside."""
    before = current_origin.get()
    current_origin.set(where)
    try:
        yield
    finally:
        current_origin.set(before)
