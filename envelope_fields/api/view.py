"""What all endpoints have in common."""

from __future__ import annotations

from typing import Any, ClassVar

from django.db import DataError, connections
from django.http import HttpRequest
from rest_framework.exceptions import AuthenticationFailed, MethodNotAllowed
from rest_framework.generics import GenericAPIView
from rest_framework.metadata import SimpleMetadata
from rest_framework.renderers import BrowsableAPIRenderer, JSONRenderer
from rest_framework.response import Response
from rest_framework.settings import api_settings

from envelope_fields.api import problems, throttling
from envelope_fields.api.acting import serving
from envelope_fields.api.fields import Nothing, Strict
from envelope_fields.api.openapi import ApiSchema
from envelope_fields.api.operations import Operation, said_by
from envelope_fields.api.parsing import LimitedJSONParser, refuse_unknown_length
from envelope_fields.api.rights import VIEW, MayComeIn
from envelope_fields.api.versioning import ByNamespace
from envelope_fields.models import MasterKey
from envelope_fields.policy import origin

_SAFE = ("GET", "HEAD", "OPTIONS")


class ApiView(GenericAPIView[Any]):
    """Authenticates as the project does, and is strict about everything else.

    Attributes:
        door: the permissions of which it takes one to come in.
        query: the parameters of this request.
    """

    parser_classes = [LimitedJSONParser]
    permission_classes = [MayComeIn]
    versioning_class = ByNamespace
    metadata_class = SimpleMetadata
    filter_backends = ()
    queryset = MasterKey.objects.none()  # the framework wants one; views make their own
    schema = ApiSchema()
    door: ClassVar[tuple[str, ...]] = (VIEW,)
    query: dict[str, Any]

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Any:
        view = super().as_view(**initkwargs)
        # An act has a transaction of its own: what it destroys, or who was denied it, must not
        # come back with the request's (ATOMIC_REQUESTS).
        view._non_atomic_requests = set(connections)  # type: ignore[attr-defined]  # as Django does
        return view

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        with serving(request):
            response: Any = super().dispatch(request, *args, **kwargs)
            # Inside, since the pages of the browsable API ask what their user may do.
            return response.render()

    def perform_authentication(self, request: Any) -> None:
        try:
            super().perform_authentication(request)
        except DataError:  # a name that is none, such as with NUL: PostgreSQL is not asked for it
            request._not_authenticated()
            raise AuthenticationFailed from None

    def check_permissions(self, request: Any) -> None:
        if request.method not in self.allowed_methods:
            raise MethodNotAllowed(request.method)
        super().check_permissions(request)

    def initial(self, request: Any, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        refuse_unknown_length(request)
        self.query = self.checked(self.operation.query, request.query_params)

    @property
    def operation(self) -> Operation:
        return self.said_of(self.request.method or "")

    def said_of(self, method: str) -> Operation:
        """Return what the view says of a method."""
        return said_by(self, method)

    def get_serializer_class(self) -> Any:
        """Return what the forms of the browsable API and OPTIONS tell of."""
        body = self.operation.body
        return body if isinstance(body, type) else Nothing

    def get_renderers(self) -> list[Any]:
        defaults: Any = api_settings.DEFAULT_RENDERER_CLASSES
        browsable = [
            renderer for renderer in defaults if issubclass(renderer, BrowsableAPIRenderer)
        ]
        return [JSONRenderer(), *(renderer() for renderer in browsable)]

    def get_throttles(self) -> list[Any]:
        return [*super().get_throttles(), throttling.OwnScope()]

    @property
    def own_throttle_scope(self) -> str:
        return throttling.READ if self.request.method in _SAFE else throttling.CHANGE

    def get_exception_handler(self) -> Any:
        return problems.answer

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        response = super().finalize_response(request, response, *args, **kwargs)
        response["X-Request-ID"] = origin().request_id
        if response.exception and response.accepted_renderer.format != "api":
            response.accepted_renderer = JSONRenderer()
            response.accepted_media_type = JSONRenderer.media_type
            response.content_type = problems.MEDIA_TYPE
        return response

    def body(self, known: type[Strict]) -> dict[str, Any]:
        """Return what a request holds.

        Raises:
            ValidationError: something else than that.
        """
        return self.checked(known, self.request.data)

    @staticmethod
    def checked(known: type[Strict], given: Any) -> dict[str, Any]:
        serializer = known(data=given)
        serializer.is_valid(raise_exception=True)
        return dict(serializer.validated_data)

    def paged(self, rows: Any, shown: type[Any], context: Any = None) -> Response:
        """Return a page of rows."""
        page = self.paginate_queryset(rows)
        content = shown(page, many=True, context=context or {}).data
        return self.get_paginated_response(content)
