"""Texts as they are, and bytes and pairs as texts."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from django.core.validators import RegexValidator
from rest_framework import serializers

from envelope_fields.api.naming import PATTERN

WITHOUT_NUL = r"\A[^\x00]*\Z"
BASE64 = (
    r"\A(?:[A-Za-z0-9+/]{4})*"
    r"(?:[A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?\Z"
)


class Text(serializers.CharField):
    """A text as it is: no number is made one, and no space is taken off."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("trim_whitespace", False)
        kwargs.setdefault("max_length", 200)
        super().__init__(**kwargs)
        self.must_match(WITHOUT_NUL, "Null characters are not allowed.")

    def must_match(self, pattern: str, message: Any) -> None:
        """Take only what matches a pattern, and say so in the schema."""
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
        self.must_match(PATTERN, "A key is named by its id, or by alias: and its alias.")


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
