"""What stands for a value and is not one: the dots of a mask, the text of an envelope, bytes.

Encrypted in the place of the value, each would be stored, and the value would be gone. So code that
writes, forms and serializers refuse it.
"""

from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Any, NamedTuple
from uuid import UUID

from django.core.exceptions import FieldError, ValidationError
from django.db.models import BinaryField, CharField, JSONField, Model
from django.utils.translation import gettext_lazy as _

from envelope_fields.crypto.format import TEXT_PREFIX, decode_text
from envelope_fields.exceptions import MalformedEnvelope
from envelope_fields.fields.forms import DOTS_ARE_NO_VALUE, disabled_for_masks
from envelope_fields.fields.masks import DOTS, MARK, Mask, is_unopened
from envelope_fields.fields.prepared import StoredEnvelope, Unencrypted
from envelope_fields.fields.sealed import sealed_in
from envelope_fields.fields.types import FieldBase


class StandIn(NamedTuple):
    """A kind of what stands for a value."""

    error: type[Exception]
    reason: str  # for who wrote the code
    in_a_form: Any  # for who filled in the form

    def refused_for(self, field: Any) -> Exception:
        """Return the error for code that writes it into a field."""
        return self.error(f"{field}: {self.reason}")


_DOTS = StandIn(
    FieldError,
    "the value holds the dots that are shown for a value which may not be read. They would "
    "replace it; an object that still has its mask leaves the stored value alone.",
    DOTS_ARE_NO_VALUE,
)
_ENVELOPE = StandIn(
    FieldError,
    "the value is the text of an envelope, and would be encrypted a second time. Assign the "
    "value itself; loading a fixture stores envelopes as they are.",
    _("This is the text of an encrypted value, not a value."),
)
_WORDS = StandIn(
    FieldError,
    "the value is what is shown in the place of one that cannot be opened. It would replace that; "
    "an object whose value was not opened leaves the stored one alone.",
    _("These words stand for a value that cannot be opened."),
)
_BYTES = StandIn(
    TypeError,
    "bytes are not a value of this field. Decode them, and assign the result.",
    _("Bytes are not a value of this field."),
)

# Nothing stands for a value that is of these types itself.
_NEVER_TEXT = frozenset((bool, int, float, Decimal, date, datetime, time, timedelta, UUID))

_VALUE_IS_NEEDED = _(
    "The change needs this value, which cannot be opened for you. A user who may read it can make "
    "the change."
)

_BYTES_OF_PYTHON = (bytes, bytearray, memoryview)

ToStored = Callable[[Unencrypted], bytes]

_BEGINNINGS = (TEXT_PREFIX, MARK)
_QUOTED = b' \t\r\n"'  # what may stand around the text of an envelope, also in JSON
_SHOWN = (DOTS.encode(), b"\\u2022" * len(DOTS))  # as text, and as JSON escapes it


def refusing(field: Any, to_plaintext: Callable[[Any], bytes]) -> ToStored:
    """Return what makes the plaintext of a prepared value, and raises for a stand-in.

    It raises:
        FieldError: dots, in a field that masks; the text of an envelope.
        TypeError: bytes, where the field is not made for them.
        Exception: as `to_plaintext` does.
    """
    masks = field.masks

    def plaintext_of(prepared: Unencrypted) -> bytes:
        if type(prepared.value) in _NEVER_TEXT:
            return to_plaintext(prepared.value)
        # Most values are text, and told from what stands for one by how it begins.
        is_text = type(prepared.value) is str
        if not is_text or prepared.value.lstrip().startswith(_BEGINNINGS):
            refuse(field, prepared.value)
        plaintext = to_plaintext(prepared.value)
        found = None if is_text and not masks else _written(field, plaintext)
        if found is None:
            return plaintext
        del plaintext  # error reports show variables
        raise found.refused_for(field)

    return plaintext_of


def _written(field: Any, plaintext: bytes) -> StandIn | None:
    """Return what a plaintext is that came from a value of another type: its text may be one."""
    if field.masks and any(dots in plaintext for dots in _SHOWN):
        return _DOTS
    text = plaintext.strip(_QUOTED)
    is_one = text.startswith(TEXT_PREFIX.encode()) and is_envelope(text.decode(errors="replace"))
    return _ENVELOPE if is_one else None


def refuse(field: Any, value: Any) -> None:
    """Raise if a value only stands for one: a FieldError, or a TypeError for bytes."""
    found = stand_in(field, value)
    del value  # error reports show variables
    if found:
        raise found.refused_for(field)


class ValidationMixin(FieldBase):
    """Takes no stand-in for a value, from forms, serializers and code."""

    masks: Any

    @cached_property
    def validators(self) -> list[Any]:
        # Serializers have these alone, where forms have clean().
        return [*super().validators, Validator(self)]

    def to_python(self, value: Any) -> Any:
        if isinstance(value, _BYTES_OF_PYTHON):  # Django would store their repr
            refuse(self, value)
        return super().to_python(value)

    def clean(self, value: Any, model_instance: Model | None) -> Any:
        if isinstance(value, StoredEnvelope):
            return value
        if isinstance(value, Mask):
            if model_instance is not None and not _stays(self, value, model_instance):
                raise ValidationError(_VALUE_IS_NEEDED, code="value_is_needed")
            return value
        value = value.value if type(value) is Unencrypted else value
        Validator(self)(value)
        return super().clean(value, model_instance)

    def formfield(self, *args: Any, **kwargs: Any) -> Any:
        if isinstance(self, CharField) and self.null and self.default == "":
            # It has NULL for what is not known yet, as while it moves, and not for an empty text.
            kwargs.setdefault("empty_value", "")
        made = super().formfield(*args, **kwargs)
        return disabled_for_masks(made, self) if made is not None and self.masks else made


def _stays(field: Any, mask: Mask, instance: Model) -> bool:
    """Whether saving an object leaves a value alone that its user may not read."""
    if mask.sealed is not sealed_in(instance, field):
        return True  # it is of another object, and refused when it is written
    prepared = mask.sealed.prepared(field, instance, instance._state.adding)
    return prepared is not None and not field.changes_with_others(prepared, instance)


class Validator:
    """Refuses what a form or a serializer brings for a field, and is not a value of it."""

    def __init__(self, field: Any) -> None:
        self.field = field

    def __call__(self, value: Any) -> None:
        """Raise a ValidationError if a value only stands for one."""
        found = stand_in(self.field, value)
        if found:
            del value
            raise ValidationError(found.in_a_form, code="stands_for_a_value")


def stand_in(field: Any, value: Any) -> StandIn | None:
    """Return what stands in the place of a value of a field, or None for a value."""
    if isinstance(value, _BYTES_OF_PYTHON):
        # What JSON makes of bytes is said by its encoder.
        return None if isinstance(field, BinaryField | JSONField) else _BYTES
    if type(value) is StoredEnvelope or (isinstance(value, str) and is_envelope(value)):
        return _ENVELOPE
    if is_unopened(value):
        return _WORDS
    return _DOTS if field.masks and _shows_dots(value) else None


def is_envelope(text: str) -> bool:
    """Whether a text is that of an envelope, as fixtures hold it."""
    text = text.strip()
    if not text.startswith(TEXT_PREFIX):
        return False
    try:
        return bool(decode_text(text))
    except MalformedEnvelope:
        return False


def _shows_dots(value: Any) -> bool:
    """Whether dots are all or a part of a text, or of a text inside JSON."""
    try:
        return _holds_dots(value)
    except RecursionError:  # it has itself inside, which the encoder of JSON reports
        return False


def _holds_dots(value: Any) -> bool:
    if isinstance(value, str):
        return DOTS in value
    if isinstance(value, dict):
        return any(_holds_dots(part) for pair in value.items() for part in pair)
    return isinstance(value, list | tuple) and any(map(_holds_dots, value))
