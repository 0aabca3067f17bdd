"""Values as every database gives them back: what comes from outside is made to fit.

A user name that is too long, or has characters that a database refuses, must not keep an act from
being recorded, and so from being done. What was cut ends in an ellipsis.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from envelope_fields.models import AuditEvent

ELLIPSIS = "…"
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
LONGEST_TEXT = 2000  # within `before` and `after`
LONGEST_INTEGER = 2**63 - 1
_REFUSED = re.compile("[\0\ud800-\udfff]")  # NUL by PostgreSQL, lone surrogates by UTF-8


def column(name: str, text: object) -> str:
    """Return text that fits into a column of the event."""
    field: Any = AuditEvent._meta.get_field(name)
    return clean(str(text), field.max_length)


def clean(text: str, longest: int = LONGEST_TEXT) -> str:
    """Return text without NUL and lone surrogates, cut to a number of characters."""
    text = _REFUSED.sub(REPLACEMENT, text)
    return text if len(text) <= longest else text[: longest - 1] + ELLIPSIS


def values(given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what `before` and `after` may hold: text, whole numbers, booleans, None, and
    lists and dictionaries of these.

    Raises:
        TypeError: something else, which databases would give back changed.
    """
    return {clean(str(name)): _value(value) for name, value in (given or {}).items()}


def _value(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return clean(str(value))
    if isinstance(value, int) and abs(value) <= LONGEST_INTEGER:
        return int(value)
    if isinstance(value, Mapping):
        return values(value)
    if isinstance(value, list | tuple):
        return [_value(item) for item in value]
    raise TypeError(
        f"An audit event holds text, whole numbers of 64 bits, booleans, None, lists and "
        f"dictionaries, not {type(value).__name__}. Make it text."
    )
