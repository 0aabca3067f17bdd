"""What all views have in common: who comes in, what they may do, and what is checked before."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from typing import Any, ClassVar, NoReturn

from django.db import DataError, connections
from django.db.models import Model
from django.http import HttpRequest
from django.utils.http import parse_etags
from rest_framework import exceptions, generics, metadata, permissions, renderers
from rest_framework.response import Response
from rest_framework.settings import api_settings

from envelope_fields.api import problems, requests
from envelope_fields.api.fields import Empty, Query, Strict
from envelope_fields.api.schema import ApiSchema
from envelope_fields.lifecycle import Operation, expecting
from envelope_fields.lifecycle.keys import actions_on, addressed_key, has_permission, record_denial
from envelope_fields.models import MasterKey
from envelope_fields.policy import Action, origin

VIEW, USE = "view_masterkey", "use_masterkey"
_SAFE = ("GET", "HEAD", "OPTIONS")


class MayComeIn(permissions.BasePermission):
    """Lets in users with one of the permissions that a view names; what is done takes more."""

    def has_permission(self, request: Any, view: Any) -> bool:
        user = request.user
        if not user or not user.is_authenticated:
            return False
        return any(has_permission(user, codename) for codename in view.permissions)


class ApiView(generics.GenericAPIView[Any]):
    """Authenticates as the project does, and is strict about everything else.

    Attributes:
        permissions: the user needs one of these to come in.
        attempted: what the trail says of a user who has none of them.
        query: the parameters of this request.
    """

    parser_classes = [requests.LimitedJSONParser]
    permission_classes = [MayComeIn]
    versioning_class = requests.ByNamespace
    metadata_class = metadata.SimpleMetadata
    filter_backends = ()
    pagination_class: Any = requests.Pages  # of lists
    queryset = MasterKey.objects.none()  # the framework wants one; views make their own
    schema = ApiSchema()
    permissions: ClassVar[tuple[str, ...]] = (VIEW,)
    attempted: ClassVar[Action] = Action.DESCRIBE
    query: dict[str, Any]

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Any:
        view = super().as_view(**initkwargs)
        # An operation has a transaction of its own: what it destroys, or the event of its denial,
        # must not come back with the request's (ATOMIC_REQUESTS).
        view._non_atomic_requests = set(connections)  # type: ignore[attr-defined]  # as Django does
        return view

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        own = {name: kwargs[name] for name in kwargs if name in requests.OWN_PARAMETERS}
        with requests.acting(request):
            response: Any = super().dispatch(request, *args, **own)
            # Inside, since the pages of the browsable API ask what their user may do.
            return response.render()

    def perform_authentication(self, request: Any) -> None:
        try:
            super().perform_authentication(request)
        except DataError:  # not a name, such as with NUL: PostgreSQL is not asked for it
            request._not_authenticated()
            raise exceptions.AuthenticationFailed from None

    def check_permissions(self, request: Any) -> None:
        if request.method not in self.allowed_methods:
            raise exceptions.MethodNotAllowed(request.method)
        super().check_permissions(request)

    def permission_denied(
        self, request: Any, message: str | None = None, code: str | None = None
    ) -> NoReturn:
        """Record it where a user who may not come in tries something, or with a key."""
        address = self.kwargs.get("id")
        is_tried = address or request.method not in _SAFE
        if is_tried and request.user and request.user.is_authenticated:
            record_denial(self.attempted, addressed_key(address) if address else None)
        super().permission_denied(request, message, code)

    def initial(self, request: Any, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        requests.refuse_unknown_length(request)
        self.query = checked(self._described("query", Query), request.query_params)

    def _described(self, attribute: str, default: Any) -> Any:
        """Return what `endpoint` describes of the method of this request."""
        method = str(self.request.method)
        handler = getattr(self, {"HEAD": "get"}.get(method, method.lower()), None)
        return getattr(handler, attribute, default)

    def get_serializer_class(self) -> Any:
        """Return the body that the forms of the browsable API and OPTIONS show."""
        body = self._described("body", Empty)
        return body if isinstance(body, type) else Empty

    def get_renderers(self) -> list[Any]:
        defaults: Any = api_settings.DEFAULT_RENDERER_CLASSES
        browsable = [
            renderer
            for renderer in defaults
            if issubclass(renderer, renderers.BrowsableAPIRenderer)
        ]
        return [renderers.JSONRenderer(), *(renderer() for renderer in browsable)]

    def get_throttles(self) -> list[Any]:
        return [*super().get_throttles(), requests.Throttle()]

    @property
    def own_throttle_scope(self) -> str:
        return requests.READ if self.request.method in _SAFE else requests.CHANGE

    def get_exception_handler(self) -> Any:
        return problems.answer

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        response["X-Request-ID"] = origin().request_id
        if response.exception and response.accepted_renderer.format != "api":
            response.accepted_renderer = renderers.JSONRenderer()
            response.accepted_media_type = renderers.JSONRenderer.media_type
            response.content_type = problems.MEDIA_TYPE
        return response

    def body(self, known: type[Strict] | None = None) -> dict[str, Any]:
        """Return the content of a request, as `endpoint` describes it or as one kind of it.

        Raises:
            ValidationError: it is something else.
        """
        return checked(known or self._described("body", Empty), self.request.data)

    def paged(
        self, rows: Any, shown: type[Any], content: Callable[[Any], Any] | None = None
    ) -> Response:
        """Return the response that shows a page of rows.

        `content` returns of the rows of a page what the serializer takes, where it is not these.
        """
        page = self.paginate_queryset(rows)
        given = page if content is None else content(page)
        response: Response = self.get_paginated_response(shown(given, many=True).data)
        return response


def checked(known: type[Strict], given: Any) -> dict[str, Any]:
    """Return what a serializer takes from outside."""
    if known in (Empty, Query) and isinstance(given, dict) and not given:
        return {}
    serializer = known(data=given)
    serializer.is_valid(raise_exception=True)
    return dict(serializer.validated_data)


# -- What the user may do: tried only if so; the operation asks the policy again, under its lock ---


def permit(request: Any, codename: str) -> None:
    """Return if the user has a permission of this app.

    Raises:
        PermissionDenied: they have not.
    """
    if not has_permission(request.user, codename):
        raise exceptions.PermissionDenied(f"It takes the permission envelope_fields.{codename}.")


def permit_on(request: Any, keys: Sequence[MasterKey], action: Action | str, codename: str) -> None:
    """Return if the user has a permission, and the right to an action on each of some keys.

    Args:
        request: of the user.
        keys: the keys; none where there is none yet, or what is done is about none.
        action: what a grant must allow on each key.
        codename: of the permission.

    Raises:
        PermissionDenied: they have not; the attempt is recorded.
    """
    try:
        permit(request, codename)
    except exceptions.PermissionDenied:
        record_denial(action, next(iter(keys), None))
        raise
    allowed = actions_on(keys, Action(action)) if keys else {}
    for key in keys:
        if not allowed[key.pk]:
            record_denial(action, key)
            raise exceptions.PermissionDenied(f"It takes a grant of {action} on the key.")


def permit_operation(request: Any, operation: Operation, *keys: MasterKey) -> None:
    """Return if the user may do an operation on each of some keys; errors as above."""
    permit_on(request, keys, operation.action, operation.codename)


def seen_key(address: str, wanted: Action = Action.DESCRIBE, *others: Action) -> MasterKey:
    """Return the key that an address names, if the user may see it; see `see`."""
    return see(addressed_key(address), wanted, *others)


def see(key: MasterKey | None, wanted: Action = Action.DESCRIBE, *others: Action) -> MasterKey:
    """Return a key that may be seen; another one does not exist, and the attempt is recorded.

    `wanted` is what is tried with it, and `others` are what else lets a user see it.

    Raises:
        NotFound: there is no such key, to this user.
    """
    if key is None:
        raise problems.no_such("key")
    see_each([key], wanted, *others)
    return key


def see_each(keys: Sequence[MasterKey], wanted: Action, *others: Action) -> None:
    """Return if each of some keys may be seen; see `see`."""
    seen = actions_on(keys, Action.DESCRIBE, *others)
    for key in keys:
        if not seen[key.pk]:
            record_denial(wanted, key)
            raise problems.no_such("key")


# -- ETags, by which a user learns that another one was faster -------------------------------------


def etag_of(content: Mapping[str, Any]) -> str:
    """Return the ETag of what is shown."""
    text = json.dumps(content, sort_keys=True, default=str)
    return f'"{sha256(text.encode()).hexdigest()[:32]}"'


def tagged(content: Mapping[str, Any], status: int = 200, prefix: str = "") -> Response:
    """Return the response that shows something, with its ETag, which `etag_prefix` may begin."""
    tag = etag_of(content)
    tag = f"{prefix}{tag[1:]}" if prefix else tag
    return Response(content, status=status, headers={"ETag": tag})


def etag_prefix(seen: Mapping[str, Any]) -> str:
    """Return how the ETag of what changes by itself begins: with what users change of it."""
    return f"{etag_of(seen)[:-1]}."


@contextmanager
def as_seen(request: Any, row: Model, now: Callable[[], str]) -> Iterator[None]:
    """Have an operation inside done only if the client has seen what it changes; see `If-Match`.

    Args:
        request: of the client.
        row: the key or the run that the operation locks.
        now: returns, under the lock, the ETag of what is changed; or how it begins, where the
            rest of it changes with more than what users do.

    Raises:
        PreconditionFailed: from the operation, which then does nothing.
    """
    given = request.headers.get("If-Match")
    if given is None:
        yield
        return
    # What compresses a response on its way makes its tag a weak one (RFC 9110, 8.8.3).
    seen = [tag.removeprefix("W/") for tag in parse_etags(given)]

    def check(locked: Model) -> None:
        if locked.pk != row.pk or seen == ["*"]:
            return
        prefix = now()
        if not any(tag.startswith(prefix) for tag in seen):
            raise problems.PreconditionFailed

    with expecting(check):
        yield
