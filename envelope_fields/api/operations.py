"""What an endpoint says of itself: the view keeps to it, and the schema tells it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from envelope_fields.api.fields import Nothing, Query

_Method = TypeVar("_Method", bound=Callable[..., Any])


@dataclass(frozen=True)
class Operation:
    """One method of one endpoint.

    Attributes:
        name: what the schema calls it.
        answers: by status, the serializer of what is answered; None is nothing.
        body: what it takes.
        query: the parameters that it takes.
        refusals: the statuses with which it is refused, beside those of every endpoint.
        headers: by status, what the answer has in its headers.
        takes_if_match: whether it is done only to what the client has seen.
        takes_idempotency_key: whether it is done once, however often it is sent.
    """

    name: str
    answers: Mapping[int, Any]
    body: Any = Nothing
    query: type[Query] = Query
    refusals: tuple[int, ...] = ()
    headers: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    takes_if_match: bool = False
    takes_idempotency_key: bool = False


def operation(name: str, answers: Mapping[int, Any], **more: Any) -> Callable[[_Method], _Method]:
    """Decorate a method of a view; arguments are the attributes of `Operation`."""
    said = Operation(name, answers, **more)

    def decorate(method: _Method) -> _Method:
        method.operation = said  # type: ignore[attr-defined]  # a name of ours
        return method

    return decorate


NOTHING = Operation("nothing", {})


def said_by(view: Any, method: str) -> Operation:
    """Return what is said of a method; one of which nothing is said takes nothing."""
    handler = getattr(view, {"HEAD": "get"}.get(method, method.lower()), None)
    said: Operation = getattr(handler, "operation", NOTHING)
    return said
