"""`path("api/v1/", include("envelope_fields.api.urls"))`: the project decides below which address.

Also the views without a resource: the root, the document, and addresses that do not exist.
"""

from copy import copy
from typing import Any

from django.conf import settings
from django.http import HttpResponsePermanentRedirect
from django.urls import Resolver404, path, re_path, register_converter, resolve
from django.urls.converters import StringConverter
from drf_spectacular import renderers
from rest_framework import serializers
from rest_framework.response import Response

from envelope_fields.api import (
    census,
    data,
    events,
    grants,
    indexes,
    keys,
    operations,
    rotations,
    views,
)
from envelope_fields.api.fields import answers
from envelope_fields.api.problems import no_address
from envelope_fields.api.requests import url_of
from envelope_fields.api.schema import document_for, endpoint
from envelope_fields.conf import configuration

app_name = "envelope_fields"

_NAMES = ("keys", "rotations", "indexes", "events", "schema")
_EXAMPLE = {name: f"https://example.com/api/v1/{name}/" for name in _NAMES}


@answers("under api/v1/", _EXAMPLE)
class RootContent(serializers.Serializer[Any]):
    """The addresses of the resources."""

    keys = serializers.URLField()
    rotations = serializers.URLField()
    indexes = serializers.URLField()
    events = serializers.URLField()
    schema = serializers.URLField()


class Root(views.ApiView):
    """Keys over HTTP."""

    permissions = (views.VIEW, views.USE)

    @endpoint("read_root", {200: RootContent})
    def get(self, request: Any) -> Response:
        """Read the addresses of the resources."""
        return Response({name: url_of(request, name) for name in _NAMES})


class Schema(views.ApiView):
    """This document."""

    permissions = (views.VIEW, views.USE)

    @endpoint("read_schema", {200: {"type": "object", "additionalProperties": {}}})
    def get(self, request: Any) -> Response:
        """Read the OpenAPI document of this API."""
        document = copy(document_for(configuration().api.data_operations))
        document["servers"] = [{"url": url_of(request, "root").rstrip("/")}]
        return Response(document)

    def get_renderers(self) -> list[Any]:
        return [
            renderers.OpenApiJsonRenderer2(),
            renderers.OpenApiJsonRenderer(),
            renderers.OpenApiYamlRenderer(),
            renderers.OpenApiYamlRenderer2(),
        ]


class Missing(views.ApiView):
    """Any other address below: it does not exist, and the answer is a problem as every other."""

    schema = None  # type: ignore[assignment]  # how DRF leaves a view out
    permissions = Root.permissions

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        # Django would do so, if nothing had this address.
        if settings.APPEND_SLASH and request.method in ("GET", "HEAD") and _lacks_slash(request):
            return HttpResponsePermanentRedirect(request.get_full_path(force_append_slash=True))
        return super().dispatch(request, *args, **kwargs)

    def check_permissions(self, request: Any) -> None:
        raise no_address()


def _lacks_slash(request: Any) -> bool:
    address = request.path_info
    if address.endswith("/"):
        return False
    try:
        found = resolve(f"{address}/", getattr(request, "urlconf", None))
    except Resolver404:
        return False
    return getattr(found.func, "cls", Missing) is not Missing


class KeyAddress(StringConverter):
    """`{id}` in a path. An alias may have slashes: what follows it is taken for a path first."""

    regex = r"alias:.+|[^/]+"


register_converter(KeyAddress, "envelope_key")

_KEY = "keys/<envelope_key:id>/"
_VERSION = f"{_KEY}versions/<int:number>/"
_DATA = {
    "generate-data-key": data.GenerateDataKey,
    "generate-data-key-without-plaintext": data.GenerateDataKeyWithoutPlaintext,
    "encrypt": data.Encrypt,
    "decrypt": data.Decrypt,
    "re-encrypt": data.ReEncrypt,
    "generate-mac": data.GenerateMac,
    "verify-mac": data.VerifyMac,
}

# An alias may have slashes, so what is longer comes first: `keys/alias:a/rotate/` is an operation.
urlpatterns = [
    path("", Root.as_view(), name="root"),
    path("schema/", Schema.as_view(), name="schema"),
    path("events/", events.Events.as_view(), name="events"),
    *(path(f"data/{name}/", view.as_view(), name=name) for name, view in _DATA.items()),
    path("rotations/", rotations.Rotations.as_view(), name="rotations"),
    path("rotations/<str:run>/", rotations.Rotation.as_view(), name="rotation"),
    path("rotations/<str:run>/failures/", rotations.Failures.as_view(), name="rotation-failures"),
    *(
        path(f"rotations/<str:run>/{name}/", view.as_view(), name=f"rotation-{name}")
        for name, view in operations.run_operation_views()
    ),
    path("indexes/", indexes.Indexes.as_view(), name="indexes"),
    path("indexes/<str:index>/", indexes.Index.as_view(), name="index"),
    *(
        path(f"indexes/<str:index>/{name}/", view.as_view(), name=f"index-{name}")
        for name, view in indexes.ACTS.items()
    ),
    path("keys/", keys.Keys.as_view(), name="keys"),
    *(
        path(f"{_VERSION}{name}/", view.as_view(), name=f"version-{name}")
        for name, view in operations.operation_views(of_version=True)
    ),
    path(_VERSION, keys.Version.as_view(), name="version"),
    path(f"{_KEY}versions/", keys.Versions.as_view(), name="versions"),
    path(f"{_KEY}grants/<int:grant>/", grants.Grant.as_view(), name="grant"),
    path(f"{_KEY}grants/", grants.Grants.as_view(), name="grants"),
    path(f"{_KEY}census/", census.Census.as_view(), name="census"),
    *(
        path(f"{_KEY}{name}/", view.as_view(), name=f"key-{name}")
        for name, view in operations.operation_views(of_version=False)
    ),
    path(_KEY, keys.Key.as_view(), name="key"),
    re_path("", Missing.as_view()),
]
