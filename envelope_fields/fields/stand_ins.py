"""What stands for a value and is none: the dots of a mask, the text of an envelope, bytes.

Encrypted in the place of the value, each would be stored, and the value would be gone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from django.core.exceptions import FieldError, ValidationError
from django.db.models import BinaryField, JSONField
from django.utils.translation import gettext_lazy as _

from envelope_fields.crypto.format import TEXT_PREFIX, decode_text
from envelope_fields.exceptions import MalformedEnvelope
from envelope_fields.fields.carriers import StoredEnvelope, Unencrypted
from envelope_fields.fields.masks import DOTS

DOTS_ARE_NO_VALUE = _("These dots stand for a value that you may not read.")


class StandIn(NamedTuple):
    """A kind of what is no value."""

    error: type[Exception]
    reason: str  # for who wrote the code
    in_a_form: Any  # for who filled in the form


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
_BYTES = StandIn(
    TypeError,
    "bytes are not a value of this field. Decode them, and assign the result.",
    _("Bytes are not a value of this field."),
)

BYTES = (bytes, bytearray, memoryview)

Refusal = Callable[[Unencrypted], None]


def refusal(field: Any) -> Refusal:
    """Return what raises for a carrier whose value is none, and passes every value of a field.

    What it returns raises:
        FieldError: dots, in a field that masks; the text of an envelope.
        TypeError: bytes, where the field is not made for them.
    """
    masks = field.masks

    def refuse(carrier: Unencrypted) -> None:
        # Most values are text, and told from what stands for one by how it begins.
        if (
            masks
            or type(carrier.value) is not str
            or carrier.value.lstrip().startswith(TEXT_PREFIX)
        ):
            _refuse(field, stand_in(field, carrier.value))

    return refuse


def refuse(field: Any, value: Any) -> None:
    """Raise as what `refusal` returns does."""
    found = stand_in(field, value)
    del value  # error reports show variables
    _refuse(field, found)


def _refuse(field: Any, found: StandIn | None) -> None:
    if found:
        raise found.error(f"{field}: {found.reason}")


class Validator:
    """Refuses what a form or a serializer brings for a field, and is no value of it."""

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
    if isinstance(value, BYTES):
        # What JSON makes of bytes is said by its encoder.
        return None if isinstance(field, BinaryField | JSONField) else _BYTES
    if type(value) is StoredEnvelope or (isinstance(value, str) and is_envelope(value)):
        return _ENVELOPE
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
