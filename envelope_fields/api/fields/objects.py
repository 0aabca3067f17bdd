"""Objects of JSON, and queries, with known names alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema_serializer
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail, ValidationError


class Strict(serializers.Serializer):  # type: ignore[type-arg]
    """Refuses names that it does not have, and never shows what it was given."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            unknown = [name for name in data if name not in self.fields]
            if unknown:
                raise ValidationError({shown(name): [self._unknown(name)] for name in unknown})
        return super().to_internal_value(data)

    def get_initial(self) -> dict[str, Any]:
        """Return what the browsable API has people fill in: what is needed, and defaults."""
        return {
            name: _offered(field)
            for name, field in self.fields.items()
            if field.required or field.default is not serializers.empty
        }

    def _unknown(self, name: Any) -> ErrorDetail:
        valid = ", ".join(self.fields) or "none"
        return ErrorDetail(f"There is no such name. Valid: {valid}.", code="unknown")

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"  # the framework's has the data


def _offered(field: Any) -> Any:
    if field.default is serializers.empty:
        return field.get_initial()
    return field.default() if callable(field.default) else field.default


@extend_schema_serializer(examples=[OpenApiExample("nothing", {})])
class Nothing(Strict):
    """There is nothing to be said."""


class Query(Strict):
    """The parameters of a query: known ones, each at most once."""

    # What the framework takes out of a query by itself.
    FRAMEWORK = frozenset({"format"})

    def to_internal_value(self, data: Any) -> Any:
        twice = [name for name in data if len(data.getlist(name)) > 1]
        if twice:
            raise ValidationError({shown(name): ["Given more than once."] for name in twice})
        given = {name: data[name] for name in data if name not in self.FRAMEWORK}
        return super().to_internal_value(given)


def as_utf8(text: str) -> str:
    """Return a text that somebody sent so that it can be sent back: JSON can hold half of one."""
    return text.encode(errors="replace").decode()


def shown(name: Any) -> str:
    """Return a name that somebody sent so that it can be told."""
    return as_utf8(str(name)[:100])
