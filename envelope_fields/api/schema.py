"""The API as an OpenAPI document."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from threading import Lock
from typing import Any

from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import (
    OpenApiJsonRenderer,
    OpenApiJsonRenderer2,
    OpenApiYamlRenderer,
    OpenApiYamlRenderer2,
)
from drf_spectacular.settings import patched_settings
from rest_framework.response import Response
from rest_framework.settings import api_settings

from envelope_fields.api import problems, rights
from envelope_fields.api.data import DataView
from envelope_fields.api.operations import operation
from envelope_fields.api.versioning import V1, url_of
from envelope_fields.api.view import ApiView
from envelope_fields.conf import configuration

# Ours alone, whatever a project says of the schema of its own API.
_SETTINGS: dict[str, Any] = {
    "TITLE": "Envelope encryption: keys",
    "DESCRIPTION": (
        "Master keys, their versions, who may use them, rotations of what is stored under them, "
        "and what was done with them. Errors are problem details (RFC 9457). A key that one may "
        "not see looks like one that is not there."
    ),
    "VERSION": V1,
    "OAS_VERSION": "3.1.0",
    "SCHEMA_PATH_PREFIX": "",
    "COMPONENT_SPLIT_PATCH": False,
    "COMPONENT_SPLIT_REQUEST": False,
    "ENFORCE_NON_BLANK_FIELDS": True,
    "PREPROCESSING_HOOKS": [],
    "POSTPROCESSING_HOOKS": [
        "envelope_fields.api.schema.without_marks",
        "envelope_fields.api.schema.with_named_problems",
    ],
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "SORT_OPERATIONS": True,
    "SERVERS": [],
    "TAGS": [
        {"name": "keys", "description": "Master keys, and everything about one."},
        {"name": "rotations", "description": "Moving stored values to the current version."},
        {"name": "events", "description": "The audit trail."},
        {"name": "data", "description": "Encrypting and decrypting, where it is switched on."},
        {"name": "schema", "description": "This document."},
    ],
}
_lock = Lock()
_made: dict[Any, dict[str, Any]] = {}


class Schema(ApiView):
    """This document."""

    door = (rights.VIEW, rights.USE)

    @operation("read_schema", {200: {"type": "object", "additionalProperties": {}}})
    def get(self, request: Any) -> Response:
        """Read the OpenAPI document of this API."""
        document = copy(document_for(configuration().api.data_operations))
        document["servers"] = [{"url": url_of(request, "root").rstrip("/")}]
        return Response(document)

    def get_renderers(self) -> list[Any]:
        return [
            OpenApiJsonRenderer2(),
            OpenApiJsonRenderer(),
            OpenApiYamlRenderer(),
            OpenApiYamlRenderer2(),
        ]


def document_for(with_data_operations: bool) -> dict[str, Any]:
    """Return the document, made once: its settings hold for all threads while it is made."""
    which = with_data_operations, tuple(api_settings.DEFAULT_AUTHENTICATION_CLASSES)
    with _lock:
        if which not in _made:
            with patched_settings(_SETTINGS):
                generator: Any = SchemaGenerator(patterns=_patterns(with_data_operations))
                _made[which] = generator.get_schema(public=True)
        return _made[which]


def without_marks(result: Any, **_: Any) -> Any:
    """Take off what the generator marks enumerations with."""
    if isinstance(result, dict):
        result.pop("x-spec-enum-id", None)
    for inner in result.values() if isinstance(result, dict) else result:
        if isinstance(inner, dict | list):
            without_marks(inner)
    return result


def with_named_problems(result: Any, **_: Any) -> Any:
    """Say once what a problem looks like, and name it where it may come."""
    named = result["components"].setdefault("responses", {})
    for responses in _responses(result):
        for status, said in responses.items():
            if problems.MEDIA_TYPE in said.get("content", {}):
                name = said["description"].title().replace(" ", "")
                named[name] = said
                responses[status] = {"$ref": f"#/components/responses/{name}"}
    return result


def _responses(document: Any) -> Iterator[dict[str, Any]]:
    for methods in document["paths"].values():
        for said in methods.values():
            yield said["responses"]


def _patterns(with_data_operations: bool) -> Sequence[Any]:
    from envelope_fields.api.urls import urlpatterns

    return [
        pattern
        for pattern in urlpatterns
        if with_data_operations or not issubclass(_class_of(pattern), DataView)
    ]


def _class_of(pattern: Any) -> type:
    found: type = pattern.callback.cls
    return found
