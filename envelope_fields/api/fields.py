"""What is taken from outside, strictly: a text, a number and a name are taken as they are.

And examples of it, and of answers, for the schema.
"""

import base64
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django.core.validators import RegexValidator
from drf_spectacular import utils
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail, ValidationError

from envelope_fields.databases.base import as_django_has_it
from envelope_fields.lifecycle.keys import ADDRESS
from envelope_fields.lifecycle.representation import in_utc

WITHOUT_NUL = r"\A[^\x00]*\Z"
BASE64 = (
    r"\A(?:[A-Za-z0-9+/]{4})*"
    r"(?:[A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?\Z"
)
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)\Z", re.ASCII)


# -- Examples, for the schema ----------------------------------------------------------------------


def answers(name: str, value: Any, *statuses: int) -> Any:
    """Give a serializer an example of an answer; without statuses, where something is read."""
    codes = [str(status) for status in statuses] or None
    example = utils.OpenApiExample(name, value, response_only=True, status_codes=codes)
    return utils.extend_schema_serializer(examples=[example])


def takes(examples: Mapping[str, Any]) -> Any:
    """Give a serializer examples of a body, by what they are called."""
    return utils.extend_schema_serializer(
        examples=[
            utils.OpenApiExample(name, examples[name], request_only=True) for name in examples
        ]
    )


def one_of(name: str, kinds: list[Any], examples: Mapping[str, Any]) -> Any:
    """Return the body that is one of several kinds, with its examples."""
    body = utils.PolymorphicProxySerializer(name, kinds, resource_type_field_name=None)
    return takes(examples)(body)


# -- Objects of JSON, and queries, with known names alone ------------------------------------------


class Strict(serializers.Serializer):  # type: ignore[type-arg]
    """Refuses names that it does not have, and never shows what it was given."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            unknown = [name for name in data if name not in self.fields]
            if unknown:
                raise ValidationError({printable(name): [self._unknown()] for name in unknown})
        return super().to_internal_value(data)

    def get_initial(self) -> dict[str, Any]:
        """Return what the forms of the browsable API begin with: required fields, and defaults."""
        return {
            name: _initial(field)
            for name, field in self.fields.items()
            if field.required or field.default is not serializers.empty
        }

    def _unknown(self) -> ErrorDetail:
        valid = ", ".join(self.fields) or "none"
        return ErrorDetail(f"There is no such name. Valid: {valid}.", code="unknown")

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"  # the framework's has the data


def _initial(field: Any) -> Any:
    if field.default is serializers.empty:
        return field.get_initial()
    return field.default() if callable(field.default) else field.default


@utils.extend_schema_serializer(examples=[utils.OpenApiExample("nothing", {})])
class Empty(Strict):
    """An empty object."""


class Query(Strict):
    """The parameters of a query: known ones, each at most once."""

    # What the framework takes out of a query by itself.
    FRAMEWORK = frozenset({"format"})

    def to_internal_value(self, data: Any) -> Any:
        twice = [name for name in data if len(data.getlist(name)) > 1]
        if twice:
            raise ValidationError({printable(name): ["Given more than once."] for name in twice})
        given = {name: data[name] for name in data if name not in self.FRAMEWORK}
        return super().to_internal_value(given)


def as_utf8(text: str) -> str:
    """Return a text from outside so that it can be sent back: JSON can hold half a character."""
    return text.encode(errors="replace").decode()


def printable(name: Any) -> str:
    """Return a name from outside so that it can be sent back."""
    return as_utf8(str(name)[:100])


# -- Texts, and bytes and pairs as texts -----------------------------------------------------------


class Text(serializers.CharField):
    """A text as it is: no number is made one, and no space is taken off."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("trim_whitespace", False)
        kwargs.setdefault("max_length", 200)
        super().__init__(**kwargs)
        self.must_match(WITHOUT_NUL, "Null characters are not allowed.")

    def must_match(self, pattern: str, message: Any) -> None:
        """Take only what matches a pattern, and have the schema show it."""
        self.validators.append(RegexValidator(pattern, message))
        self.pattern = pattern

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return str(super().to_internal_value(data))

    def json_schema(self) -> dict[str, Any]:
        least = {} if self.allow_blank else {"minLength": 1}
        pattern = in_ecma(self.pattern)
        return {"type": "string", **least, "maxLength": self.max_length, "pattern": pattern}


class KeyName(Text):
    """A key's id, or `alias:` and its alias."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=206, **kwargs)
        self.must_match(ADDRESS, "A key is named by its id, or by alias: and its alias.")


class Base64(Text):
    """Bytes as base64 in its one form, with padding."""

    default_error_messages = {
        "base64": "Not base64: the standard alphabet, with padding.",
        "too_long": "Longer than {most} bytes.",
    }

    def __init__(self, *, most: int, **kwargs: Any) -> None:
        super().__init__(max_length=4 * -(-most // 3), **kwargs)
        self.most = most
        self.must_match(BASE64, self.error_messages["base64"])

    def run_validation(self, data: Any = serializers.empty) -> Any:
        text = super().run_validation(data)
        decoded = base64.b64decode(text)
        if len(decoded) > self.most:
            self.fail("too_long", most=self.most)
        return decoded

    def json_schema(self) -> dict[str, Any]:
        return {**super().json_schema(), "contentEncoding": "base64"}


class EncryptionContext(serializers.DictField):
    """Text to text, as KMS has it: at most 64 pairs, of at most 1,024 characters each."""

    pairs, most = 64, 1024
    default_error_messages = {"too_many": "More than {pairs} pairs."}

    def __init__(self, **kwargs: Any) -> None:
        self.text = Text(allow_blank=True, max_length=self.most)
        super().__init__(child=self.text, **kwargs)

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            if len(data) > self.pairs:
                self.fail("too_many", pairs=self.pairs)
            for name in data:
                self.text.run_validation(name)
        return super().to_internal_value(data)

    def json_schema(self) -> dict[str, Any]:
        value = self.text.json_schema()
        name = {key: value[key] for key in ("maxLength", "pattern")}
        return {
            "type": "object",
            "maxProperties": self.pairs,
            "propertyNames": name,
            "additionalProperties": value,
        }


def in_ecma(pattern: str) -> str:
    """Return a pattern of Python as JSON Schema has it."""
    return pattern.replace(r"\A", "^").replace(r"\Z", "$").replace(r"\x00", r"\u0000")


# -- Numbers, truth values and times ---------------------------------------------------------------


class Integer(serializers.IntegerField):
    """A number of JSON, and no text that looks like one."""

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, float) and data.is_integer():  # 90.0 is 90, says JSON Schema
            data = int(data)
        if type(data) is not int:
            self.fail("invalid")
        return int(super().to_internal_value(data))


class Number(serializers.FloatField):
    """A number of JSON within its bounds, and no text that looks like one."""

    default_error_messages = {"range": "A number from {least} to {most} is required."}

    def to_internal_value(self, data: Any) -> float:
        # Compared as it is: an integer may be larger than any float.
        if type(data) not in (int, float) or not self.min_value <= data <= self.max_value:
            self.fail("range", least=self.min_value, most=self.max_value)
        return float(data)


class IntegerInQuery(serializers.IntegerField):
    """Digits in a query."""

    def to_internal_value(self, data: Any) -> int:
        if not re.fullmatch(r"[0-9]{1,18}", str(data)):
            self.fail("invalid")
        return int(data)

    def json_schema(self) -> dict[str, Any]:
        most = self.max_value or 10**18 - 1
        return {"type": "integer", "minimum": self.min_value or 0, "maximum": most}


class Boolean(serializers.BooleanField):
    """`true` or `false`, in JSON or as the text of a query."""

    def to_internal_value(self, data: Any) -> bool:
        if isinstance(self.parent, Query) and data in ("true", "false"):
            return bool(data == "true")
        if type(data) is not bool:
            self.fail("invalid")
        return bool(data)


class _Moment(serializers.DateTimeField):
    """A date and a time, in UTC also where Django has them without a zone."""

    enforce_timezone = staticmethod(in_utc)  # type: ignore[assignment]


def time_field(**options: Any) -> serializers.DateTimeField:
    """Return a field that shows a date and a time in UTC (RFC 3339)."""
    return _Moment(format="iso-8601", **options)


class DateTime(serializers.DateTimeField):
    """A date and a time with its offset (RFC 3339)."""

    default_error_messages = {"format": "Write it as 2030-12-31T18:00:00Z, with the offset."}

    def to_internal_value(self, value: Any) -> datetime:
        if not isinstance(value, str) or not _TIME.match(value):
            self.fail("format")
        try:
            moment = datetime.fromisoformat(value.upper()).astimezone(UTC)
            return as_django_has_it(moment)
        except (ValueError, OverflowError):
            self.fail("format")
