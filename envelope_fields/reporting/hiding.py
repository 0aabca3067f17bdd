"""What a report shows in place of a variable."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from django.db.models import QuerySet

from envelope_fields.reporting.finding import Found, holds_rows, is_pair, model_of
from envelope_fields.reporting.secrets import SUBSTITUTE

_DEPTH = 8
_NO_NAME = re.compile(r'[{}"<>\n]')
_PLAIN = (bytes, bytearray, int, float)
_AS_IT_IS = (type(None), complex, type)


class Shown(str):
    """A text that a report shows as it is, without quotes around it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def without_secrets(name: Any, value: Any, found: Found, depth: int = 0) -> Any:
    """Return a variable, an argument or a posted value as a report may show it."""
    if name in found.names or found.secrets.is_one(value):
        return SUBSTITUTE
    kind = type(value)  # not isinstance(), for which a lazy object would be made
    if issubclass(kind, str):
        return found.secrets.cleansed(value)
    if issubclass(kind, _PLAIN):
        return _cleansed(value, repr(value), found)
    if issubclass(kind, _AS_IT_IS):
        return value
    if depth >= _DEPTH:
        return Shown("…")
    return _in_depth(value, found, depth + 1)


def is_form(posted: Iterable[Any]) -> bool:
    """Whether these are the names of a form: JSON that is posted as one is all in a name."""
    return not any(_NO_NAME.search(str(name)) for name in posted)


def _in_depth(value: Any, found: Found, depth: int) -> Any:
    if issubclass(type(value), dict):
        return {
            without_secrets(None, key, found, depth): without_secrets(key, inside, found, depth)
            for key, inside in dict.items(value)
        }
    if type(value) in (list, tuple, set, frozenset):
        if is_pair(value):  # such as a lookup and its value
            name, inside = value
            shown = without_secrets(None, name, found, depth)
            return (shown, without_secrets(name, inside, found, depth))
        return type(value)(without_secrets(None, inside, found, depth) for inside in value)
    if model_of(value) is not None:
        return Shown(_place(value))
    if holds_rows(value):
        return Shown(f"<{type(value).__name__} of rows with encrypted fields>")
    return _cleansed(value, _repr(value), found)


def _cleansed(value: Any, text: str, found: Found) -> Any:
    """Return a text that has no secrets in it; numbers and bytes as they are, where that is all."""
    cleansed = found.secrets.cleansed(text)
    is_plain = issubclass(type(value), _PLAIN)
    return value if is_plain and cleansed == text else Shown(cleansed)


def _place(value: Any) -> str:
    """Return which row it is: for more, another row may have to be read, or a value opened."""
    if issubclass(type(value), QuerySet):
        return f"<QuerySet of {value.model._meta.label}>"
    return f"<{value._meta.label} {vars(value).get(value._meta.pk.attname)!r}>"


def _repr(value: Any) -> str:
    try:
        return repr(value)
    except Exception as error:
        return f"<{type(value).__name__}, whose repr raises {type(error).__name__}>"
