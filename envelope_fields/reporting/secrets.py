"""The values that a report must not show, the names that lead to them, and texts without them.

Nothing is asked of an attribute, which might read a database or open a value: what objects hold
is looked at where they hold it.
"""

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import date, time, timedelta
from decimal import Decimal
from types import MemberDescriptorType
from typing import Any
from urllib.parse import quote, quote_plus
from uuid import UUID

from django.apps import apps
from django.db.models import Model, QuerySet, Value

SUBSTITUTE = "********************"  # as Django has it

# A shorter text is in others by chance, unless quotes are around it.
_SHORTEST = 4
# Reports cut long texts; what begins like a value is one.
_LONG = 64

_WRITTEN_AS_TEXT = (int, float, Decimal, date, time, timedelta, UUID)

_DEPTH = 8
_NO_NAME = re.compile(r'[{}"<>\n]')
_PLAIN = (bytes, bytearray, int, float)
_AS_IT_IS = (type(None), complex, type)
_PARTS = re.compile(r"__|-|\.|\[|\]")  # of names such as `form-0-notes`
_NUMBER = re.compile(r"_\d+\Z")  # of the widgets of one form field


class EncryptedNames:
    """The names of the encrypted fields of all models, and of their columns."""

    def __init__(self) -> None:
        models = apps.get_models(include_auto_created=True, include_swapped=True)
        self._names = {
            name.lower()
            for model in models
            for field in encrypted_fields(model)
            for name in (field.name, field.attname, field.column)
        }

    def __contains__(self, name: Any) -> bool:
        if not isinstance(name, str):
            return False
        parts = _PARTS.split(name.lower())
        return any(_NUMBER.sub("", part) in self._names or part in self._names for part in parts)


def encrypted_fields(model: type[Model]) -> list[Any]:
    """Return the encrypted fields of a model, with those that it inherits."""
    return [field for field in model._meta.concrete_fields if is_encrypted(field)]


def is_encrypted(field: Any) -> bool:
    """Whether something is an encrypted field, or the one in clear whose place it takes."""
    # Settings name this module, and are read before there can be models.
    from envelope_fields.fields import EncryptedFieldMixin
    from envelope_fields.fields.conversion.clear import ClearFieldMixin

    return isinstance(field, EncryptedFieldMixin | ClearFieldMixin)


def model_of(value: Any) -> Any:
    """Return the model that something is a row of, or several rows; None if it is not."""
    kind = type(value)
    model = value.model if issubclass(kind, QuerySet) else kind
    is_model = isinstance(model, type) and issubclass(model, Model)
    return model if is_model and hasattr(model, "_meta") else None


def has_encrypted_fields(value: Any) -> bool:
    """Whether something is a row with encrypted fields, or several of them."""
    model = model_of(value)
    return model is not None and bool(encrypted_fields(model))


def holds_rows(value: Any) -> bool:
    """Whether an object has such rows in it, which its repr would show."""
    return any(has_encrypted_fields(inside) for inside in attributes(value).values())


def is_pair(value: Any) -> bool:
    """Whether something is a name and a value, as filters have them."""
    return type(value) is tuple and len(value) == 2 and isinstance(value[0], str)


def attributes(value: Any) -> dict[str, Any]:
    """Return what an object holds, also in slots. Not vars(): a lazy object would be made."""
    held: dict[str, Any] = {}
    for kind in type(value).__mro__:
        for name, attribute in vars(kind).items():
            if isinstance(attribute, MemberDescriptorType):
                with suppress(AttributeError):  # not set
                    held[name] = attribute.__get__(value)
    with suppress(AttributeError):
        own = object.__getattribute__(value, "__dict__")
        held.update(own if isinstance(own, dict) else {})
    return held


class Secrets:
    """Values that were met under the names of encrypted fields.

    Attributes:
        names: these names.
    """

    def __init__(self) -> None:
        self.names = EncryptedNames()
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
    from envelope_fields.fields.prepared import Unencrypted  # as for is_encrypted
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
    start, at = form[:_LONG], 0
    while (at := text.find(start, at)) >= 0:
        end = at + len(start)
        for expected, found in zip(form[_LONG:], text[end:], strict=False):
            if expected != found:
                break
            end += 1
        text = f"{text[:at]}{SUBSTITUTE}{text[end:]}"
        at += len(SUBSTITUTE)
    return text


class Shown(str):
    """A text that a report shows as it is, without quotes around it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def without_secrets(name: Any, value: Any, secrets: Secrets, depth: int = 0) -> Any:
    """Return a variable, an argument or a posted value as a report may show it."""
    if name in secrets.names or secrets.is_one(value):
        return SUBSTITUTE
    kind = type(value)  # not isinstance(), for which a lazy object would be made
    if issubclass(kind, str):
        return secrets.cleansed(value)
    if issubclass(kind, _PLAIN):
        return _cleansed(value, repr(value), secrets)
    if issubclass(kind, _AS_IT_IS):
        return value
    if depth >= _DEPTH:
        return Shown("…")
    return _in_depth(value, secrets, depth + 1)


def is_form(posted: Iterable[Any]) -> bool:
    """Whether these are the names of a form: JSON that is posted as one is all in a name."""
    return not any(_NO_NAME.search(str(name)) for name in posted)


def _in_depth(value: Any, secrets: Secrets, depth: int) -> Any:
    if issubclass(type(value), dict):
        return {
            without_secrets(None, key, secrets, depth): without_secrets(key, inside, secrets, depth)
            for key, inside in dict.items(value)
        }
    if type(value) in (list, tuple, set, frozenset):
        if is_pair(value):  # such as a lookup and its value
            name, inside = value
            shown = without_secrets(None, name, secrets, depth)
            return (shown, without_secrets(name, inside, secrets, depth))
        return type(value)(without_secrets(None, inside, secrets, depth) for inside in value)
    if model_of(value) is not None:
        return Shown(_row_text(value))
    if holds_rows(value):
        return Shown(f"<{type(value).__name__} of rows with encrypted fields>")
    return _cleansed(value, _repr(value), secrets)


def _cleansed(value: Any, text: str, secrets: Secrets) -> Any:
    """Return a text that has no secrets in it; numbers and bytes as they are, where that is all."""
    cleansed = secrets.cleansed(text)
    is_plain = issubclass(type(value), _PLAIN)
    return value if is_plain and cleansed == text else Shown(cleansed)


def _row_text(value: Any) -> str:
    """Return which row it is: for more, another row may have to be read, or a value opened."""
    if issubclass(type(value), QuerySet):
        return f"<QuerySet of {value.model._meta.label}>"
    return f"<{value._meta.label} {vars(value).get(value._meta.pk.attname)!r}>"


def _repr(value: Any) -> str:
    try:
        return repr(value)
    except Exception as error:
        return f"<{type(value).__name__}, whose repr raises {type(error).__name__}>"
