"""The endpoints as OpenAPI, from what they say of themselves."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiExample, OpenApiParameter
from rest_framework import serializers

from envelope_fields.api import idempotency, naming, problems
from envelope_fields.api.fields import Strict, in_ecma
from envelope_fields.api.operations import Operation

# Every endpoint may answer these, and those that take a body the second ones, too.
ALWAYS = (400, 401, 403, 404, 405, 406, 429)
WITH_BODY = (411, 413, 415)

_PATH = {
    "id": OpenApiParameter(
        "id",
        {"type": "string", "pattern": in_ecma(naming.PATTERN)},
        OpenApiParameter.PATH,
        description="The key's id, or `alias:` and its alias.",
        examples=[
            OpenApiExample("by alias", "alias:default"),
            OpenApiExample("by id", "0b8cf4b2-4f6e-4d5c-8f50-5d8d3a6ab0f1"),
        ],
    ),
    "number": OpenApiParameter(
        "number",
        {"type": "integer", "minimum": 0, "maximum": 2**31 - 1},
        OpenApiParameter.PATH,
        description="The number of the version; the highest is current.",
    ),
    "grant": OpenApiParameter(
        "grant",
        {"type": "integer", "minimum": 0, "maximum": 2**63 - 1},
        OpenApiParameter.PATH,
        description="The number of the grant.",
    ),
    "run": OpenApiParameter(
        "run",
        {"type": "string", "format": "uuid"},
        OpenApiParameter.PATH,
        description="The id of the rotation.",
        examples=[OpenApiExample("a rotation", "7f1c52e4-9f0f-4a39-8d4e-0a1a3c7f9d55")],
    ),
}
_IF_MATCH = OpenApiParameter(
    "If-Match",
    str,
    OpenApiParameter.HEADER,
    description="The `ETag` that was seen; if it is another one by now, nothing is done (412).",
)
_IDEMPOTENCY_KEY = OpenApiParameter(
    idempotency.HEADER,
    {"type": "string", "pattern": in_ecma(idempotency.PATTERN)},
    OpenApiParameter.HEADER,
    description=(
        "A name for this start. Sent again with the same body, it is answered with the first run; "
        "with another body it is refused (422)."
    ),
    examples=[OpenApiExample("of a deployment", '"deploy-1742"')],
)
_HEADERS = {
    "ETag": "Changes with what is told.",
    "Location": "The address of what was made, or goes on.",
    "Retry-After": "After how many seconds to ask again.",
    "Cache-Control": "`no-store`: the answer is kept nowhere.",
}

_PROBLEM = {
    "type": "about:blank",
    "title": "Bad Request",
    "status": 400,
    "detail": "rotation_period: Ensure this value is greater than or equal to 90.",
    "code": "invalid",
    "errors": [
        {
            "field": "rotation_period",
            "detail": "Ensure this value is greater than or equal to 90.",
            "code": "min_value",
        }
    ],
}


class FieldProblem(serializers.Serializer[Any]):
    """What is wrong with one field."""

    field = serializers.CharField(
        allow_blank=True, help_text="The name; `actions.0` is the first of a list."
    )
    detail = serializers.CharField()
    code = serializers.CharField()


class Problem(serializers.Serializer[Any]):
    """Problem details (RFC 9457). A refusal may have more members, which say what is in the way."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    code = serializers.CharField()
    errors = FieldProblem(many=True, required=False)  # type: ignore[assignment]  # its name in problems


class ApiSchema(AutoSchema):
    """Reads the `Operation` of a method."""

    @property
    def operation(self) -> Operation:
        view: Any = self.view
        found: Operation = view.said_of(self.method)
        return found

    def get_operation_id(self) -> str:
        return self.operation.name

    def get_tags(self) -> list[str]:
        return super().get_tags() or ["schema"]

    def get_summary(self) -> str:
        return self.get_description().partition("\n")[0].rstrip(".")

    def get_override_parameters(self) -> list[Any]:
        found: list[Any] = [_PATH[name] for name in _PATH if f"{{{name}}}" in self.path]
        if self.operation.takes_if_match:
            found.append(_IF_MATCH)
        if self.operation.takes_idempotency_key:
            found.append(_IDEMPOTENCY_KEY)
        for status, names in self.operation.headers.items():
            found += [_answered(name, status) for name in names]
        query = self.operation.query
        return [*found, query] if query().fields else found

    def get_request_serializer(self) -> Any:
        return self.operation.body

    def get_response_serializers(self) -> Any:
        return dict(self.operation.answers)

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
        told = {name: meta[name] for name in ("description", "default") if name in meta}
        return {**field.json_schema(), **told}

    def _insert_field_validators(self, field: Any, schema: Any) -> None:
        if not hasattr(field, "json_schema"):
            super()._insert_field_validators(field, schema)

    def _get_response_bodies(self, direction: Any = "response") -> Any:
        bodies = super()._get_response_bodies(direction)
        takes_body = self.method in ("POST", "PATCH", "PUT")
        more = WITH_BODY if takes_body else ()
        for status in sorted({*ALWAYS, *more, *self.operation.refusals}):
            bodies[str(status)] = self._problem(status)
        return bodies

    def _problem(self, status: int) -> dict[str, Any]:
        content = {"schema": self.resolve_serializer(Problem, "response").ref}
        if status == HTTPStatus.BAD_REQUEST:
            content["examples"] = {"Field": {"summary": "A field", "value": _PROBLEM}}
        return {"description": problems.phrase(status), "content": {problems.MEDIA_TYPE: content}}


def _answered(name: str, status: int) -> OpenApiParameter:
    return OpenApiParameter(
        name, str, OpenApiParameter.HEADER, description=_HEADERS[name], response=[status]
    )
