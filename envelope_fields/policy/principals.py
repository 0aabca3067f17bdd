"""On whose behalf a key is used: a user, anonymous, or the application; and which is bound to code.

A principal is bound to the context (PEP 567), so it is the right one under async, too. A new
thread has a context of its own, in which none is bound, unless it is handed one:
`copy_context().run(...)`. A process that is forked begins with the context of its parent, and may
outlive what that was about.
"""

from collections.abc import Callable
from contextlib import nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import wraps
from inspect import isasyncgenfunction, iscoroutine, iscoroutinefunction, isgeneratorfunction
from typing import Any, Protocol, TypeVar

from django.apps import apps
from django.contrib.auth import get_user_model

from envelope_fields import forks
from envelope_fields.conf import SETTING, configuration
from envelope_fields.exceptions import KeyAccessDenied
from envelope_fields.policy.requests import in_flight


@dataclass(frozen=True, slots=True)
class Principal:
    """Who acts, named as rows name them.

    Attributes:
        type: `application`, `anonymous`, `unbound`, or the lower-cased label of the user model.
        id: the user's primary key as text.
        name: for people to read; decides nothing.
    """

    type: str
    id: str = ""
    name: str = field(default="", compare=False)
    key: str = field(init=False, repr=False, compare=False)  # type and id as one, quick to hash

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", f"{self.type}:{self.id}")

    def __str__(self) -> str:
        # A name with line breaks makes no lines of its own, as in logs.
        named = self.name if self.name.isprintable() else repr(self.name)
        return f"{self.type} {self.id}".strip() + (f" ({named})" if named else "")


APPLICATION = Principal("application")
ANONYMOUS = Principal("anonymous")
UNBOUND = Principal("unbound")  # in denials alone: code to which no principal is bound


def principal_of(actor: Any) -> Principal:
    """Return the principal that a user is; a principal is itself.

    Args:
        actor: a saved user, `AnonymousUser`, or a principal such as `APPLICATION`.

    Raises:
        TypeError: anything else, such as None or the user of another model.
    """
    if isinstance(actor, Principal):
        return actor
    if getattr(actor, "is_anonymous", False) is True:
        return ANONYMOUS
    if _is_user(actor) and actor.pk is not None:
        # Of a proxy or a child, too: one person has one name.
        return Principal(get_user_model()._meta.label_lower, str(actor.pk), actor.get_username())
    raise TypeError(
        f"{type(actor).__name__} is neither a saved user nor envelope_fields.policy.APPLICATION"
    )


def acting(actor: Any = None) -> Principal:
    """Return the principal on whose behalf something is done; None is the one bound to this code.

    Errors are those of `principal_of` and `current_principal`.
    """
    return current_principal() if actor is None else principal_of(actor)


def _is_user(actor: Any) -> bool:
    return apps.is_installed("django.contrib.auth") and isinstance(actor, get_user_model())


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


def _bind(actor: Actor | None, entered: _Entered) -> None:
    _bound.set(actor)
    _entered.set(entered)


class acting_as:
    """Bind a principal to the code inside: `with acting_as(user):`, or as a decorator.

    Do not `yield` inside: the code that iterates would act as that principal, too.

    Args:
        actor: a saved user, `AnonymousUser`, or a principal such as `APPLICATION`.

    Raises:
        TypeError: anything else.
    """

    def __init__(self, actor: Any) -> None:
        self.principal = principal_of(actor)

    def __enter__(self) -> Principal:
        outside: _Bindings = bound_actor(), _entered.get()
        # Kept in the context: threads and tasks may be inside of one and the same object at once.
        try:
            _bind(self.principal, (*outside[1], (self, outside[0])))
        except BaseException:  # a signal handler has raised in between
            _bind(*outside)
            raise
        return self.principal

    def __exit__(self, *_: object) -> None:
        entered = _entered.get()
        try:
            self._leave(entered)
        except BaseException:  # as above
            self._leave(entered)
            raise

    def _leave(self, entered: _Entered) -> None:
        found = [index for index, (binding, _) in enumerate(entered) if binding is self]
        if not found:
            return  # a generator, left in another context: that one keeps whom it has
        outer, inner = entered[: found[-1]], entered[found[-1] + 1 :]
        before = entered[found[-1]][1]
        if inner:  # a generator, left before what was entered after it
            inner = ((inner[0][0], before), *inner[1:])
            before = bound_actor()
        _bind(before, (*outer, *inner))

    def __call__(self, function: _Function) -> _Function:
        """Decorate a function, sync or async."""
        if isgeneratorfunction(function) or isasyncgenfunction(function):
            raise TypeError(
                f"{function.__qualname__} is a generator: between its values, the code that "
                "iterates would act as its principal. Bind the code that iterates over it."
            )
        principal = self.principal

        @wraps(function)
        def decorated(*args: Any, **kwargs: Any) -> Any:
            with acting_as(principal):
                made = function(*args, **kwargs)
            # It need not look like a coroutine function: see asgiref's `sync_to_async`.
            return bound_to_it(made) if iscoroutine(made) else made

        @wraps(function)
        async def awaited(*args: Any, **kwargs: Any) -> Any:
            return await decorated(*args, **kwargs)

        async def bound_to_it(coroutine: Any) -> Any:
            with acting_as(principal):
                return await coroutine

        made: Any = awaited if iscoroutinefunction(function) else decorated
        return made  # type: ignore[no-any-return]  # of the same type


class bound:
    """Bind an actor that may be known later; what the code inside makes of it is kept for next.

    So it serves an iterator, step by step: what one step binds is there in the next, and not
    between them.
    """

    def __init__(self, actor: Actor | None) -> None:
        self._inside: _Bindings = (actor, ())
        self._outside: list[_Bindings] = []  # several: a step may close what it is a step of

    def __enter__(self) -> None:
        outside: _Bindings = bound_actor(), _entered.get()
        self._outside.append(outside)
        try:
            _bind(*self._inside)
        except BaseException:  # as of `acting_as`
            _bind(*self._outside.pop())
            raise

    def __exit__(self, *_: object) -> None:
        outside = self._outside[-1]
        try:
            self._inside = bound_actor(), _entered.get()
            _bind(*outside)
        except BaseException:
            _bind(*outside)
            raise
        finally:
            del self._outside[-1]


class _Forked:
    """The actor in a process that was forked by code to which another one was bound.

    A process of a pool is forked for the first user who needs it, and works for all later ones.
    """

    def principal(self) -> Principal:
        raise KeyAccessDenied(
            "This process was forked by code that acted for a user, and may work for others by "
            "now. Say in it on whose behalf: with acting_as(user), or acting_as(APPLICATION)."
        )


def _after_fork() -> None:
    if bound_actor() not in (None, APPLICATION):
        _bind(_Forked(), ())


forks.in_child(_after_fork)


def application_by_default() -> Any:
    """Bind the application where the code is unbound and no request is handled: for commands."""
    return acting_as(APPLICATION) if bound_actor() is None and not in_flight else nullcontext()


def current_principal() -> Principal:
    """Return the principal on whose behalf this code runs.

    Raises:
        KeyAccessDenied: the code is unbound where it must not be: a request is handled, or the
            setting `REQUIRE_PRINCIPAL` says so.
    """
    actor = bound_actor()
    if actor is None:
        return _unbound()
    return actor if isinstance(actor, Principal) else actor.principal()


def _unbound() -> Principal:
    if in_flight:
        raise KeyAccessDenied(
            "No principal is bound to this code while a request is handled. Hand a thread its "
            "context: copy_context().run(...). Where the application itself acts, say so: "
            "with acting_as(APPLICATION)."
        )
    if configuration().require_principal:
        raise KeyAccessDenied(
            f'No principal is bound to this code, and {SETTING}["REQUIRE_PRINCIPAL"] requires '
            "one: with acting_as(user), or acting_as(APPLICATION)."
        )
    return APPLICATION
