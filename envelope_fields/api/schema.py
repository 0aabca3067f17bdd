"""The API as an OpenAPI document: views describe their methods with `endpoint`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from threading import Lock
from types import MappingProxyType
from typing import Any, TypeVar

from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.settings import SPECTACULAR_DEFAULTS, patched_settings, spectacular_settings
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.settings import api_settings

from envelope_fields.api.fields import Empty, Query, Strict, in_ecma
from envelope_fields.api.problems import IDEMPOTENCY_KEY, MEDIA_TYPE, phrase
from envelope_fields.api.requests import NAME_OF_REQUEST, V1
from envelope_fields.lifecycle.keys import ADDRESS

_Method = TypeVar("_Method", bound=Callable[..., Any])

# Every endpoint may answer these, and those that take a body the second ones, too.
ALWAYS = (400, 401, 403, 404, 405, 406, 429)
WITH_BODY = (411, 413, 415)


_NONE: Mapping[Any, Any] = MappingProxyType({})


def _parameter(
    where: Any, name: str, schema: Any, text: str, examples: Mapping[str, str] = _NONE
) -> OpenApiParameter:
    shown = [OpenApiExample(called, examples[called]) for called in examples]
    return OpenApiParameter(name, schema, where, description=text, examples=shown)


_IN_PATH = (
    _parameter(
        "path", "id", {"type": "string", "pattern": in_ecma(ADDRESS)},
        "The key's id, or `alias:` and its alias.",
        {"by alias": "alias:default", "by id": "0b8cf4b2-4f6e-4d5c-8f50-5d8d3a6ab0f1"},
    ),
    _parameter(
        "path", "number", {"type": "integer", "minimum": 0, "maximum": 2**31 - 1},
        "The number of the version; the highest is current.",
    ),
    _parameter(
        "path", "grant", {"type": "integer", "minimum": 0, "maximum": 2**63 - 1},
        "The number of the grant.",
    ),
    _parameter(
        "path", "index", {"type": "string", "pattern": "^[^/]{1,300}$"},
        "The label of the index: `app_label.model.field` of its column.",
        {"an index": "clinic.patient.email_index"},
    ),
    _parameter(
        "path", "run", {"type": "string", "format": "uuid"}, "The id of the rotation.",
        {"a rotation": "7f1c52e4-9f0f-4a39-8d4e-0a1a3c7f9d55"},
    ),
)  # fmt: skip
IF_MATCH = _parameter(
    "header", "If-Match", str,
    "The `ETag` that was seen; if it is another one by now, nothing is done (412).",
)  # fmt: skip
NAME_OF_START = _parameter(
    "header", IDEMPOTENCY_KEY, {"type": "string", "pattern": in_ecma(NAME_OF_REQUEST)},
    "A name for this start. Sent again with the same body, it is answered with the first run; "
    "with another body it is refused (422).",
    {"of a deployment": '"deploy-1742"'},
)  # fmt: skip
_HEADERS = {
    "ETag": "Changes with what is shown.",
    "Location": "The address of what was made, or goes on.",
    "Retry-After": "After how many seconds to ask again.",
    "Cache-Control": "`no-store`: the answer is kept nowhere.",
}
_TOO_SMALL = "Ensure this value is greater than or equal to 90."
_PROBLEM = {
    "type": "about:blank", "title": "Bad Request", "status": 400,
    "detail": f"rotation_period: {_TOO_SMALL}", "code": "invalid",
    "errors": [{"field": "rotation_period", "detail": _TOO_SMALL, "code": "min_value"}],
}  # fmt: skip

# Ours alone, whatever a project sets for the schema of its own API; but how accounts are
# authenticated is the project's. What serves its schema cannot be set for a while.
_OF_PROJECT = (
    "SECURITY", "AUTHENTICATION_WHITELIST", "APPEND_COMPONENTS", "OAUTH2_", "SERVE_",
    "DEFAULT_GENERATOR_CLASS",
)  # fmt: skip
_SETTINGS: dict[str, Any] = {
    **{
        name: SPECTACULAR_DEFAULTS[name]
        for name in SPECTACULAR_DEFAULTS
        if not name.startswith(_OF_PROJECT)
    },
    "TITLE": "Envelope encryption: keys",
    "DESCRIPTION": (
        "Master keys, their versions, who may use them, rotations of what is stored under them, "
        "and what was done with them. Errors are problem details (RFC 9457). A key that the user "
        "may not see looks like one that does not exist."
    ),
    "VERSION": V1,
    "OAS_VERSION": "3.1.0",
    "SCHEMA_PATH_PREFIX": "",
    "COMPONENT_SPLIT_PATCH": False,
    "ENFORCE_NON_BLANK_FIELDS": True,
    "POSTPROCESSING_HOOKS": [
        "envelope_fields.api.schema.without_marks",
        "envelope_fields.api.schema.with_named_problems",
    ],
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "TAGS": [
        {"name": "keys", "description": "Master keys, and everything about one."},
        {"name": "rotations", "description": "Moving stored values to the current version."},
        {"name": "indexes", "description": "Blind indexes, and how far each is."},
        {"name": "events", "description": "The audit trail."},
        {"name": "data", "description": "Encrypting and decrypting, where it is switched on."},
        {"name": "schema", "description": "This document."},
    ],
}
_SINCE_3_1 = ("propertyNames", "contentEncoding")  # words of JSON Schema that OpenAPI 3.0 lacks
_lock = Lock()
_made: dict[Any, dict[str, Any]] = {}


class FieldProblem(serializers.Serializer[Any]):
    """What is wrong with one field."""

    field = serializers.CharField(
        allow_blank=True, help_text="The name; `actions.0` is the first of a list."
    )
    detail = serializers.CharField()
    code = serializers.CharField()


class Problem(serializers.Serializer[Any]):
    """Problem details (RFC 9457). A refusal may have more members, about what is in the way."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    code = serializers.CharField()
    errors = FieldProblem(many=True, required=False)  # type: ignore[assignment]  # its name in problems


class ApiSchema(AutoSchema):
    """Knows the parameters of our addresses, and fields that have a schema of their own."""

    def get_operation(self, path: str, *args: Any) -> Any:
        if len(args) == 1:  # by the generator of REST framework, which knows no `endpoint`
            return {"responses": {"default": {"description": "`schema/` describes it."}}}
        return super().get_operation(path, *args)

    def get_components(self, *_: Any) -> dict[str, Any]:  # as above
        return {}

    def get_tags(self) -> list[str]:
        return super().get_tags() or ["schema"]

    def get_summary(self) -> str:
        return self.get_description().partition("\n")[0].rstrip(".")

    def get_override_parameters(self) -> list[Any]:
        return [each for each in _IN_PATH if f"{{{each.name}}}" in self.path]

    def _is_list_view(self, serializer: Any = None) -> bool:
        return isinstance(serializer, serializers.ListSerializer)

    def _map_basic_serializer(self, serializer: Any, direction: Any) -> Any:
        schema = super()._map_basic_serializer(serializer, direction)
        kind = serializer if isinstance(serializer, type) else type(serializer)
        if issubclass(kind, Strict):
            schema["additionalProperties"] = False
        return schema

    def _map_serializer_field(
        self, field: Any, direction: Any, bypass_extensions: bool = False
    ) -> Any:
        if not hasattr(field, "json_schema"):
            return super()._map_serializer_field(field, direction, bypass_extensions)
        meta = self._get_serializer_field_meta(field, direction)
        known = {name: meta[name] for name in ("description", "default") if name in meta}
        described = {**field.json_schema(), **known}
        if spectacular_settings.OAS_VERSION.startswith("3.0"):  # as that of a project may be
            described = {name: described[name] for name in described if name not in _SINCE_3_1}
        return described

    def _insert_field_validators(self, field: Any, schema: Any) -> None:
        if not hasattr(field, "json_schema"):
            super()._insert_field_validators(field, schema)


def endpoint(
    name: str,
    responses: Mapping[int, Any],
    *,
    body: Any = Empty,
    query: type[Query] = Query,
    refusals: Sequence[int] = (),
    headers: Mapping[int, Sequence[str]] = _NONE,
    parameters: Sequence[OpenApiParameter] = (),
) -> Callable[[_Method], _Method]:
    """Describe a method of a view, as drf-spectacular's `extend_schema` does.

    Args:
        name: of the operation in the document.
        responses: by status, the serializer of the content; None for none.
        body: of the request; `ApiView.body` checks it.
        query: the parameters that it takes; the view refuses others.
        refusals: the statuses with which it is refused, beside those of every endpoint.
        headers: by status, what the response has in its headers.
        parameters: headers of the request.
    """
    shown = [_response_header(each, code) for code, names in headers.items() for each in names]
    queried = [query] if query().fields else []

    def describe(method: _Method) -> _Method:
        takes_body = method.__name__ in ("post", "patch")
        statuses = sorted({*ALWAYS, *(WITH_BODY if takes_body else ()), *refusals})
        problems = {(status, MEDIA_TYPE): _problem(status) for status in statuses}
        vars(method).update(schema=ApiSchema, query=query, body=body)
        extend: Any = extend_schema(
            operation_id=name,
            request=body,
            responses={**responses, **problems},
            parameters=[*parameters, *shown, *queried],
        )
        described: _Method = extend(method)
        return described

    return describe


def _response_header(name: str, status: int) -> OpenApiParameter:
    return OpenApiParameter(
        name, str, OpenApiParameter.HEADER, description=_HEADERS[name], response=[status]
    )


def _problem(status: int) -> OpenApiResponse:
    example = OpenApiExample("a field", _PROBLEM, response_only=True, media_type=MEDIA_TYPE)
    return OpenApiResponse(Problem, phrase(status), [example] if status == 400 else [])


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
    """Define each problem once, and refer to it where it may be the response."""
    named = result["components"].setdefault("responses", {})
    for responses in _responses(result):
        for status, response in responses.items():
            if MEDIA_TYPE in response.get("content", {}):
                name = response["description"].title().replace(" ", "")
                named[name] = response
                responses[status] = {"$ref": f"#/components/responses/{name}"}
    return result


def _responses(document: Any) -> Iterator[dict[str, Any]]:
    for methods in document["paths"].values():
        for operation in methods.values():
            yield operation["responses"]


def _patterns(with_data_operations: bool) -> Sequence[Any]:
    from envelope_fields.api.data import DataView
    from envelope_fields.api.urls import urlpatterns

    return [
        pattern
        for pattern in urlpatterns
        if with_data_operations or not issubclass(pattern.callback.cls, DataView)
    ]
