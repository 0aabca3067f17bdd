"""Aliases with places for the values of a row: `clinic/{clinic_id}`.

No two tenants ever have the same alias, whatever their columns hold. Each place is a whole part
between slashes, and a value is written there so that it holds no slash and can be told again from
what is written. Nor are two aliases the same to a database that compares without case.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

ALIAS_LENGTH = 200  # of the column

_PLACE = re.compile(r"\{([A-Za-z]\w*)\}", re.ASCII)
_WORDS = re.compile(r"[A-Za-z0-9_.:@-]+", re.ASCII)
_KEPT = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789_.-")


@dataclass(frozen=True)
class AliasTemplate:
    """An alias whose parts are words, or places for a value.

    Args:
        text: as in `clinic/{clinic_id}` or `clinic/{ward__clinic_id}/research`.

    Raises:
        ValueError: it is no such text.
    """

    text: str

    def __post_init__(self) -> None:
        first, *others = self.text.split("/")
        parts_are_sound = all(map(_is_sound, (first, *others)))
        if not parts_are_sound or not first[0].isalnum() or not self.names:
            raise ValueError(
                f"{self.text!r} is not a template for the aliases of keys. Write words first, then "
                "a slash and the name of a field in braces, as in 'clinic/{clinic_id}'; a name in "
                "braces stands alone between slashes. Words have letters, digits and _ . : @ -"
            )

    @property
    def parts(self) -> list[str]:
        """The words, and the places in their braces."""
        return self.text.split("/")

    @property
    def names(self) -> list[str]:
        """What stands in braces."""
        return [place[1] for place in map(_PLACE.fullmatch, self.parts) if place]

    def matches(self, alias: str) -> bool:
        """Whether this is the alias for some values, in any case of its letters."""
        parts, given = self.parts, alias.split("/")
        return len(parts) == len(given) and all(
            bool(value) if _PLACE.fullmatch(part) else part.lower() == value.lower()
            for part, value in zip(parts, given, strict=True)
        )

    def alias(self, values: Mapping[str, Any]) -> str:
        """Return the alias for these values, by name.

        Raises:
            TypeError: a value is missing, or is no integer, text or UUID.
            ValueError: a value is empty or the alias too long.
        """
        alias = "/".join(
            _PLACE.sub(lambda place: _written(place[1], values), part) for part in self.parts
        )
        if len(alias) > ALIAS_LENGTH:
            raise ValueError(
                f"its alias by {self.text!r} would be longer than {ALIAS_LENGTH} characters. Use a "
                "shorter column, such as the tenant's primary key"
            )
        return alias


def _is_sound(part: str) -> bool:
    return bool(_PLACE.fullmatch(part) or _WORDS.fullmatch(part))


def _written(name: str, values: Mapping[str, Any]) -> str:
    text = _text(name, values.get(name))
    if not text:
        raise ValueError(f"{name} is empty, and names no tenant")
    try:
        encoded = text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name} is text that UTF-8 cannot encode") from None
    return "".join(chr(byte) if byte in _KEPT else f":{byte:02x}" for byte in encoded)


def _text(name: str, value: Any) -> str:
    # Of enumerations the value, which is what the database has, and not the name.
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return int.__repr__(value)
    if isinstance(value, UUID):
        return str(value)
    what = "empty" if value is None else type(value).__name__
    raise TypeError(f"{name} is {what}, and only integers, text and UUIDs name a tenant")
