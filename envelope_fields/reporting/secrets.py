"""The values that a report must not show, and how they are taken out of its texts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import quote, quote_plus
from uuid import UUID

from django.db.models import Value

SUBSTITUTE = "********************"  # as Django has it

# A shorter text is in others by chance, unless quotes are around it.
_SHORTEST = 4
# Reports cut long texts; what begins like a value is one.
_LONG = 64

_WRITTEN_AS_TEXT = (int, float, Decimal, date, time, timedelta, UUID)


class Secrets:
    """Values that were met under the names of encrypted fields."""

    def __init__(self) -> None:
        self._texts: set[str] = set()  # each of them hidden wherever it stands
        self._words: set[str] = set()  # the names in JSON, hidden where they are all there is
        self._forms: list[str] | None = None

    def add(self, value: Any) -> None:
        """Note a value, and everything in it if it is JSON."""
        for text, is_name in _texts_of(value):
            if text and not text.isspace():
                (self._words if is_name else self._texts).add(text)
                self._forms = None

    def is_one(self, value: Any) -> bool:
        """Whether something is a value that was noted."""
        kind = type(value)  # not isinstance(), for which a lazy object would be made
        if issubclass(kind, bytes):
            return value.decode(errors="replace") in self._texts
        if issubclass(kind, str):
            return value in self._texts or value in self._words
        return _is_written(value) and len(str(value)) >= _SHORTEST and str(value) in self._texts

    def cleansed(self, text: str) -> str:
        """Return a text without the values that were noted."""
        if self.is_one(text):
            return SUBSTITUTE
        for form in self._all_forms():
            text = _without(form, text)
        return text

    def _all_forms(self) -> list[str]:
        """Return everything that a value may look like in a text, the longest first."""
        if self._forms is None:
            forms = {form for text in self._texts for form in _forms_of(text)}
            forms |= {form for word in self._words for form in _quoted(word)}
            self._forms = sorted(forms, key=len, reverse=True)
        return self._forms


def _texts_of(value: Any, is_name: bool = False) -> Iterator[tuple[str, bool]]:
    """Yield the texts that a value consists of, and whether they are names in JSON."""
    from envelope_fields.fields.carriers import Unencrypted  # as for names.is_encrypted
    from envelope_fields.fields.sealed import BroughtValue

    kind = type(value)
    if issubclass(kind, Unencrypted | Value | BroughtValue):
        yield from _texts_of(value.value)
    elif issubclass(kind, dict):
        for key, inside in value.items():
            yield from _texts_of(key, is_name=True)
            yield from _texts_of(inside)
    elif issubclass(kind, list | tuple | set | frozenset):
        for inside in value:
            yield from _texts_of(inside)
    elif issubclass(kind, bytes | bytearray | memoryview):
        yield bytes(value).decode(errors="replace"), is_name
    elif issubclass(kind, str) or _is_written(value):
        yield str(value), is_name


def _is_written(value: Any) -> bool:
    return issubclass(type(value), _WRITTEN_AS_TEXT) and not isinstance(value, bool)


def _forms_of(text: str) -> set[str]:
    if len(text) < _SHORTEST:
        return _quoted(text)
    in_bytes = repr(text.encode(errors="replace"))[2:-1]
    in_texts = {text, repr(text)[1:-1], ascii(text)[1:-1], json.dumps(text)[1:-1], in_bytes}
    return in_texts | {quote(text, errors="replace"), quote_plus(text, errors="replace")}


def _quoted(text: str) -> set[str]:
    return {repr(text), json.dumps(text)}


def _without(form: str, text: str) -> str:
    beginning, place = form[:_LONG], 0
    while (place := text.find(beginning, place)) >= 0:
        end = place + len(beginning)
        for expected, found in zip(form[_LONG:], text[end:], strict=False):
            if expected != found:
                break
            end += 1
        text = f"{text[:place]}{SUBSTITUTE}{text[end:]}"
        place += len(SUBSTITUTE)
    return text
