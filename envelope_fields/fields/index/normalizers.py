"""Normalisers: which values an index takes for the same (docs/spec/blind-index-v1.md).

What one makes of a value goes into MACs that are stored. So each has a version, and a fingerprint
that tells whether it still makes of some probes what it made of them when the index was begun.
"""

import hashlib
from abc import ABC, abstractmethod
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cached_property
from typing import Any, ClassVar, Final

from django.core.exceptions import ImproperlyConfigured
from django.utils.deconstruct import deconstructible
from django.utils.module_loading import import_string

from envelope_fields.crypto import context
from envelope_fields.crypto.canonical import DATETIME, TEXT, CanonicalType
from envelope_fields.crypto.unicode import casefold, digits

# The characters with the property White_Space of Unicode, as they have been since version 6.3.
_WHITE_SPACE: Final = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
_PROBES: Final = (
    *("", " ", "0", "Ada", " Ada.Lovelace+notes@Example.ORG\n", "STRASSE", "Straße", "ſ", "İIıi"),
    *("ΣΑΣ", "σας", "ﬁ", "Å", "A\u030a", "가", "\u1100\u1161", "①", "q\u0323\u0307", "\u0378"),
    *("+49 (0)30 1234-567", "٠١٢٣٤٥٦٧٨٩", "078-05-1120", "\U0001d7d8", "a@b@C.example"),
    *(7, -1, 2.5, True, date(1815, 12, 10), datetime(1815, 12, 10, 23, 59, 59, 1)),
)


@deconstructible
class Normalizer(ABC):
    """Maps each value to its normal form; values with the same one are found together.

    A subclass of one's own has a name with a dot in it, as in `clinic.record_number`, and another
    `version` whenever it maps some value otherwise than before. It is injective, or only folds what
    users write differently and mean the same; one that drops what tells values apart says so.

    Attributes:
        name: by which the index is known to have been made.
        version: counted from 1.
        lossy: whether different values have one normal form. An index of a lossy one is asked by
            a lookup of the normaliser's name, and never by `exact`.
        folds_case: whether letters that differ in case are the same, as `iexact` asks.
        normal_forms: the type of the normal forms; None is that of the field.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    lossy: ClassVar[bool] = False
    folds_case: ClassVar[bool] = False
    normal_forms: ClassVar[CanonicalType | None] = TEXT

    @abstractmethod
    def normalize(self, value: Any) -> Any:
        """Return the normal form of a value that is not None; None where it would be empty.

        Raises:
            TypeError, ValueError: it has none. The message does not show the value.
        """

    @cached_property
    def fingerprint(self) -> str:
        """What this makes of some probes, as 32 hexadecimal digits: it never changes."""
        parts = [self.name.encode(), self.version.to_bytes(8, "little")]
        parts += map(self._probed, _PROBES)
        return hashlib.sha256(context.encode(parts)).hexdigest()[:32]

    def _probed(self, probe: Any) -> bytes:
        try:
            form = self.normalize(probe)
        except Exception:
            return b"refused"
        if form is None:
            return b"empty"
        if isinstance(form, datetime):
            return DATETIME.encode(form)
        return b"form" + (form if isinstance(form, bytes) else str(form).encode())

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.name} {self.version}>"


class Exact(Normalizer):
    """The value as it is, of any type; numbers that are equal have one form."""

    name = "exact"
    normal_forms = None

    def normalize(self, value: Any) -> Any:
        if isinstance(value, float):
            return value or 0.0  # minus zero is zero
        if isinstance(value, Decimal):
            return reduced(value)
        is_empty = isinstance(value, str | bytes) and not value
        return None if is_empty else value


def reduced(value: Decimal) -> Decimal:
    """Return a decimal without zeros at its end, exactly; zero is 0."""
    sign, digits_, exponent = value.as_tuple()
    if not isinstance(exponent, int):
        return value  # of no number
    text = "".join(map(str, digits_)).lstrip("0")
    kept = text.rstrip("0")
    if not kept:
        return Decimal(0)
    return Decimal((sign, tuple(map(int, kept)), exponent + len(text) - len(kept)))


class TextNormalizer(Normalizer):
    """A normaliser of text."""

    def normalize(self, value: Any) -> str | None:
        if not isinstance(value, str):
            raise TypeError(f"the normaliser {self.name!r} is for text, not {type(value).__name__}")
        return self.of_text(value) or None

    @abstractmethod
    def of_text(self, text: str) -> str:
        """Return the normal form of a text; empty where it has none."""


class CaseFold(TextNormalizer):
    """NFKC, full case folding, NFKC."""

    name = "casefold"
    folds_case = True

    def of_text(self, text: str) -> str:
        return casefold(text)


class Email(CaseFold):
    """An address: without white space around it, then as `casefold`. Dots and `+tags` stay."""

    name = "email"

    def of_text(self, text: str) -> str:
        return casefold(text.strip(_WHITE_SPACE))


class Digits(TextNormalizer):
    """The decimal digits of any script as ASCII, and nothing else: telephone numbers."""

    name = "digits"

    def of_text(self, text: str) -> str:
        return digits(text)


class LastFour(TextNormalizer):
    """The last four decimal digits, of a value that has as many."""

    name = "last_four"
    lossy = True

    def of_text(self, text: str) -> str:
        found = digits(text)
        return found[-4:] if len(found) >= 4 else ""


class Domain(TextNormalizer):
    """What follows the last `@` of an address, as `email` has it; of a domain, itself."""

    name = "domain"
    lossy = True
    folds_case = True

    def of_text(self, text: str) -> str:
        return casefold(text.strip(_WHITE_SPACE)).rpartition("@")[2]


class DateNormalizer(Normalizer):
    """A part of a date, or of a moment: of one with a time zone, as it is in UTC."""

    lossy = True

    def normalize(self, value: Any) -> str | None:
        if isinstance(value, datetime):
            value = value if value.tzinfo is None else value.astimezone(UTC)
        elif not isinstance(value, date):
            return self.of_number(value)
        return self.of_date(value)

    def of_number(self, value: Any) -> str:
        """Return the normal form of what is asked for: a number, or text that is one."""
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise TypeError(f"the normaliser {self.name!r} is not for {type(value).__name__}")
        text = str(value)
        if not (text.isascii() and text.isdigit()):
            raise ValueError(f"the normaliser {self.name!r} is asked by a number")
        return str(int(text))

    @abstractmethod
    def of_date(self, value: date) -> str:
        """Return the normal form of a date."""


class Year(DateNormalizer):
    """The year of a date."""

    name = "year"

    def of_date(self, value: date) -> str:
        return str(value.year)


class Month(DateNormalizer):
    """The month of a date, from 1 to 12, whatever the year is."""

    name = "month"

    def of_date(self, value: date) -> str:
        return str(value.month)


BUILT_IN: Final = {
    each.name: each
    for each in (Exact(), CaseFold(), Email(), Digits(), LastFour(), Domain(), Year(), Month())
}


def find_normalizer(normalizer: str | Normalizer) -> Normalizer:
    """Return a normaliser.

    Args:
        normalizer: the name of a built-in one, the dotted path of a class or object, or itself.

    Raises:
        ImproperlyConfigured: there is none, or it has no name of its own or no version.
    """
    found = normalizer
    if isinstance(found, str):
        if found in BUILT_IN:
            return BUILT_IN[found]
        found = _imported(found)
    if isinstance(found, type) and issubclass(found, Normalizer):
        found = found()
    if not isinstance(found, Normalizer):
        raise ImproperlyConfigured(f"{normalizer!r} is not a Normalizer.")
    if found in BUILT_IN.values():
        return found
    if "." not in found.name:
        raise ImproperlyConfigured(
            f"The name of the normaliser {found!r} is to have a dot in it, such as "
            f"'clinic.{found.name}': names without one are kept for those that come with the "
            "package."
        )
    if found.version < 1:
        raise ImproperlyConfigured(f"The version of the normaliser {found!r} begins with 1.")
    return found


def _imported(path: str) -> Any:
    try:
        return import_string(path)
    except ImportError as error:
        names = ", ".join(sorted(BUILT_IN))
        raise ImproperlyConfigured(
            f"There is no normaliser {path!r}. There are {names}, or the dotted path of one's own."
        ) from error
