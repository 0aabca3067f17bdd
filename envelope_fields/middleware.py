"""The user of a request is the principal of the code that serves it.

`PrincipalMiddleware` is for Django's requests, `PrincipalASGIMiddleware` for what an ASGI server
serves beside Django, such as websockets.
"""

import re
from asyncio import get_running_loop
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from io import BufferedReader
from typing import Any, Self
from uuid import uuid4

from asgiref.sync import async_to_sync, iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from envelope_fields.exceptions import KeyAccessDenied
from envelope_fields.policy import ANONYMOUS, APPLICATION, Origin, Principal
from envelope_fields.policy.principals import acting_as, bound, principal_of
from envelope_fields.policy.requests import coming_from, count_requests, end_with, handled

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,200}\Z")
_ADDRESS_LENGTH = 45  # of the column that keeps it
_END: Any = object()  # of a stream

# What no client sends, as Channels and ASGI call it: messages to workers, and a server's start.
_WORKER, _SERVER = "channel", "lifespan"

Scope = MutableMapping[str, Any]
ASGIApplication = Callable[[Scope, Any, Any], Awaitable[None]]
Serving = Callable[[], AbstractContextManager[None]]
GetResponse = Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]


class PrincipalMiddleware:
    """Binds the user of a request to the code that serves it, up to the last byte of a stream.

    It stands behind `AuthenticationMiddleware`, and before whatever reads encrypted values.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response: Any = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)
        count_requests()

    def __call__(self, request: HttpRequest) -> Any:
        if self.is_async:
            return self._answer(request)
        serving = _serving(request)
        with serving():
            response = self.get_response(request)
        return _finish(request, response, serving)

    async def _answer(self, request: HttpRequest) -> HttpResponseBase:
        serving = _serving(request)
        with serving():
            response = await self.get_response(request)
        return _finish(request, response, serving)


class PrincipalASGIMiddleware:
    """Binds `scope["user"]` to an ASGI application beside Django, such as one of Channels.

    Without a user in the scope, it is anonymous, whatever the protocol. It stands inside of what
    puts the user there: `AuthMiddlewareStack(PrincipalASGIMiddleware(URLRouter([...])))`. What
    comes by a channel layer to a worker of its own, which no user has connected to, is the
    application.

    Args:
        app: the ASGI application.
    """

    def __init__(self, app: ASGIApplication) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        with ExitStack() as stack:
            if scope["type"] == _WORKER:
                stack.enter_context(acting_as(APPLICATION))
            elif scope["type"] != _SERVER:
                stack.enter_context(handled())
                stack.enter_context(coming_from(_origin_of_scope(scope)))
                stack.enter_context(bound(RequestUser(partial(scope.get, "user"))))
            await self.app(scope, receive, send)


class RequestUser:
    """The user of a request or a connection, looked up when a key is first asked for.

    The database is asked only then; and a login in a view, or the authentication of Django REST
    framework, counts from then on.

    Args:
        user_now: returns the user; None without authentication.
    """

    _known: tuple[Any, Principal] | None = None

    def __init__(self, user_now: Callable[[], Any]) -> None:
        self._user_now = user_now

    @classmethod
    def of(cls, request: HttpRequest) -> Self:
        """Return the user of a request."""
        return cls(lambda: getattr(request, "user", None))

    def principal(self) -> Principal:
        """Return the principal that the user is now.

        Raises:
            KeyAccessDenied: the user is of a kind that no grant can name.
        """
        user = self._user_now()
        known = self._known
        if known is None or known[0] is not user:
            known = self._known = (user, _principal(user))
        return known[1]


def _serving(request: HttpRequest) -> Serving:
    """Return what holds while the code of a request runs; entered once for each piece of it."""
    origin, actor = origin_of(request), bound(RequestUser.of(request))

    @contextmanager
    def serving() -> Iterator[None]:
        with handled(), coming_from(origin), actor:
            yield

    return serving


def _principal(user: Any) -> Principal:
    if user is None:  # without authentication; Django REST framework may say so, too
        return ANONYMOUS
    # To load the user is the application's business, also where the model has encrypted fields.
    with acting_as(APPLICATION):
        try:
            return principal_of(user)
        except TypeError as error:
            raise KeyAccessDenied(f"The user of this request has no grants: {error}.") from None


def origin_of(request: HttpRequest) -> Origin:
    # Not X-Forwarded-For, which anybody can send: who has a proxy sets REMOTE_ADDR from it.
    return _origin(request.META.get("REMOTE_ADDR"), request.headers.get("X-Request-ID", ""))


def _origin_of_scope(scope: Scope) -> Origin:
    headers = dict(scope.get("headers") or ())
    address, *_ = scope.get("client") or ("",)
    return _origin(address, headers.get(b"x-request-id", b"").decode("latin-1"))


def _origin(address: Any, request_id: str) -> Origin:
    return Origin(
        address=str(address or "")[:_ADDRESS_LENGTH],
        request_id=request_id if _REQUEST_ID.match(request_id) else uuid4().hex,
    )


def _finish(request: HttpRequest, response: Any, serving: Serving) -> HttpResponseBase:
    # A stream that is left before its end is closed by a server, which goes on to other requests.
    response._resource_closers[:] = [
        partial(_close, closer, serving) for closer in response._resource_closers
    ]
    if getattr(response, "is_async", False):
        closer = partial(_close_async, response._iterator)
        response._resource_closers.append(partial(_close, closer, serving))
    end_with(request, response)
    if response.streaming and type(getattr(response, "file_to_stream", None)) is not BufferedReader:
        # A plain file needs no key, and servers have a faster way to send one.
        stream = response.streaming_content
        response.streaming_content = (
            _async_stream(stream, serving) if response.is_async else _stream(stream, serving)
        )
    result: HttpResponseBase = response
    return result


def _close(closer: Callable[[], None], serving: Serving) -> None:
    with serving():
        closer()


def _stream(stream: Iterator[Any], serving: Serving) -> Iterator[Any]:
    """Yield what a stream does, each step of it in the name of the request."""
    while True:
        with serving():
            part = next(stream, _END)
        if part is _END:
            return
        yield part


async def _async_stream(stream: AsyncIterator[Any], serving: Serving) -> AsyncIterator[Any]:
    while True:
        with serving():
            part = await anext(stream, _END)
        if part is _END:
            return
        yield part


def _close_async(stream: Any) -> None:
    """Close an asynchronous generator that was left before its end.

    The event loop does so, too, when it is collected as garbage, in whatever context.
    """

    async def close() -> None:
        await stream.aclose()

    try:
        get_running_loop()
    except RuntimeError:
        if getattr(stream, "ag_frame", None) is not None:  # it has not ended
            async_to_sync(close)()
