"""Where the API begins, and where it ends: its address, and those that are none of it."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpResponsePermanentRedirect
from django.urls import Resolver404, resolve
from drf_spectacular.utils import OpenApiExample, extend_schema_serializer
from rest_framework import serializers
from rest_framework.response import Response

from envelope_fields.api import rights
from envelope_fields.api.operations import operation
from envelope_fields.api.versioning import url_of
from envelope_fields.api.view import ApiView

_NAMES = ("keys", "rotations", "events", "schema")


@extend_schema_serializer(
    examples=[
        OpenApiExample(
            "under api/v1/",
            {name: f"https://example.com/api/v1/{name}/" for name in _NAMES},
            response_only=True,
        )
    ]
)
class RootContent(serializers.Serializer[Any]):
    """Where to go on."""

    keys = serializers.URLField()
    rotations = serializers.URLField()
    events = serializers.URLField()
    schema = serializers.URLField()


class Root(ApiView):
    """Keys over HTTP."""

    door = (rights.VIEW, rights.USE)

    @operation("read_root", {200: RootContent})
    def get(self, request: Any) -> Response:
        """Read where to go on."""
        return Response({name: url_of(request, name) for name in _NAMES})


class Missing(ApiView):
    """Any other address below: nothing is here, and that is told as every problem is."""

    schema = None  # type: ignore[assignment]  # how DRF leaves a view out
    door = Root.door

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        # Django would do so, if nothing had this address.
        if settings.APPEND_SLASH and request.method in ("GET", "HEAD") and _lacks_slash(request):
            return HttpResponsePermanentRedirect(request.get_full_path(force_append_slash=True))
        return super().dispatch(request, *args, **kwargs)

    def check_permissions(self, request: Any) -> None:
        raise rights.nothing_here()


def _lacks_slash(request: Any) -> bool:
    path = request.path_info
    if path.endswith("/"):
        return False
    try:
        found = resolve(f"{path}/", getattr(request, "urlconf", None))
    except Resolver404:
        return False
    return getattr(found.func, "cls", Missing) is not Missing
