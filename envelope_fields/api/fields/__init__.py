"""What is taken from outside, strictly: no guess at what a text, a number or a name may mean."""

from envelope_fields.api.fields.moments import Moment
from envelope_fields.api.fields.numbers import Number, TrueOrFalse, Whole, WholeInQuery
from envelope_fields.api.fields.objects import Nothing, Query, Strict, as_utf8, shown
from envelope_fields.api.fields.texts import (
    Base64,
    EncryptionContext,
    KeyName,
    Text,
    in_ecma,
)

__all__ = [
    "Base64",
    "EncryptionContext",
    "KeyName",
    "Moment",
    "Nothing",
    "Number",
    "Query",
    "Strict",
    "Text",
    "TrueOrFalse",
    "Whole",
    "WholeInQuery",
    "as_utf8",
    "in_ecma",
    "shown",
]
