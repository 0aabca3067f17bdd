"""Who is acting: bound to the context (PEP 567), so it is the right one under async, too.

A new thread has a context of its own, in which nobody is bound, unless it is handed one:
`copy_context().run(...)`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from contextvars import ContextVar
from functools import wraps
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from typing import Any, Protocol, TypeVar

from envelope_fields.conf import SETTING, configuration
from envelope_fields.exceptions import KeyAccessDenied
from envelope_fields.policy.principals import APPLICATION, Principal, principal_of
from envelope_fields.policy.requests import in_flight

_Function = TypeVar("_Function", bound=Callable[..., Any])


class Later(Protocol):
    """A principal that is known when it is asked for."""

    def principal(self) -> Principal: ...


Actor = Principal | Later

_bound: ContextVar[Actor | None] = ContextVar("envelope_fields.actor", default=None)
bound_actor = _bound.get

# The bindings that this context is inside of, each with whom it found; the innermost is the last.
_Entered = tuple[tuple["acting_as", Actor | None], ...]
_Bindings = tuple[Actor | None, _Entered]
_entered: ContextVar[_Entered] = ContextVar("envelope_fields.bindings", default=())


class acting_as:
    """Bind a principal to the code inside: `with acting_as(user):`, or as a decorator.

    Do not `yield` inside: whoever iterates would act as that principal, too.

    Args:
        actor: a saved user, `AnonymousUser`, or a principal such as `APPLICATION`.

    Raises:
        TypeError: anything else.
    """

    def __init__(self, actor: Any) -> None:
        self.principal = principal_of(actor)

    def __enter__(self) -> Principal:
        # Kept in the context: threads and tasks may be inside of one and the same object at once.
        _entered.set((*_entered.get(), (self, bound_actor())))
        _bound.set(self.principal)
        return self.principal

    def __exit__(self, *_: object) -> None:
        entered = _entered.get()
        places = [place for place, (binding, _) in enumerate(entered) if binding is self]
        if not places:
            return  # a generator, left in another context: that one keeps whom it has
        outer, inner = entered[: places[-1]], entered[places[-1] + 1 :]
        before = entered[places[-1]][1]
        if inner:  # a generator, left before what was entered after it
            inner = ((inner[0][0], before), *inner[1:])
        else:
            _bound.set(before)
        _entered.set((*outer, *inner))

    def __call__(self, function: _Function) -> _Function:
        """Decorate a function, sync or async."""
        if isgeneratorfunction(function) or isasyncgenfunction(function):
            raise TypeError(
                f"{function.__qualname__} is a generator: between its values, the code that "
                "iterates would act as its principal. Bind the code that iterates over it."
            )
        principal = self.principal
        decorated: Any
        if iscoroutinefunction(function):

            @wraps(function)
            async def decorated(*args: Any, **kwargs: Any) -> Any:
                with acting_as(principal):
                    return await function(*args, **kwargs)

        else:

            @wraps(function)
            def decorated(*args: Any, **kwargs: Any) -> Any:
                with acting_as(principal):
                    return function(*args, **kwargs)

        return decorated  # type: ignore[no-any-return]  # of the same type


class bound:
    """Bind an actor that may be known later; what the code inside makes of it is kept for next.

    So it serves an iterator, step by step: what one step binds is there in the next, and not
    between them.
    """

    def __init__(self, actor: Actor | None) -> None:
        self._inside: _Bindings = (actor, ())
        self._outside: _Bindings = (None, ())

    def __enter__(self) -> None:
        self._outside = _bindings()
        _bind(*self._inside)

    def __exit__(self, *_: object) -> None:
        self._inside = _bindings()
        _bind(*self._outside)


def _bindings() -> _Bindings:
    return bound_actor(), _entered.get()


def _bind(actor: Actor | None, entered: _Entered) -> None:
    _bound.set(actor)
    _entered.set(entered)


def application_by_default() -> Any:
    """Bind the application where nobody is bound and no request is handled: for commands."""
    return acting_as(APPLICATION) if bound_actor() is None and not in_flight else nullcontext()


def current_principal() -> Principal:
    """Return the principal on whose behalf this code runs.

    Raises:
        KeyAccessDenied: nobody is bound, and somebody must be: a request is being handled, or the
            setting `REQUIRE_PRINCIPAL` says so.
    """
    actor = bound_actor()
    if actor is None:
        return _unbound()
    return actor if isinstance(actor, Principal) else actor.principal()


def _unbound() -> Principal:
    if in_flight:
        raise KeyAccessDenied(
            "Nobody is bound to this code while a request is handled. Hand a thread its context: "
            "copy_context().run(...). Where the application itself acts, say so: "
            "with acting_as(APPLICATION)."
        )
    if configuration().require_principal:
        raise KeyAccessDenied(
            f'Nobody is bound to this code, and {SETTING}["REQUIRE_PRINCIPAL"] requires a '
            "principal: with acting_as(user), or acting_as(APPLICATION)."
        )
    return APPLICATION
