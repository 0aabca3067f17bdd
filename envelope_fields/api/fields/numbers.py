"""Numbers and truth values of JSON, or as the digits and words of a query."""

from __future__ import annotations

import re
from typing import Any

from rest_framework import serializers

from envelope_fields.api.fields.objects import Query


class Whole(serializers.IntegerField):
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
        # Compared as it is: a whole number may be larger than any float.
        if type(data) not in (int, float) or not self.min_value <= data <= self.max_value:
            self.fail("range", least=self.min_value, most=self.max_value)
        return float(data)


class WholeInQuery(serializers.IntegerField):
    """Digits in a query."""

    def to_internal_value(self, data: Any) -> int:
        if not re.fullmatch(r"[0-9]{1,18}", str(data)):
            self.fail("invalid")
        return int(data)

    def json_schema(self) -> dict[str, Any]:
        most = self.max_value or 10**18 - 1
        return {"type": "integer", "minimum": self.min_value or 0, "maximum": most}


class TrueOrFalse(serializers.BooleanField):
    """`true` or `false`, in JSON or as the text of a query."""

    def to_internal_value(self, data: Any) -> bool:
        if isinstance(self.parent, Query) and data in ("true", "false"):
            return bool(data == "true")
        if type(data) is not bool:
            self.fail("invalid")
        return bool(data)
