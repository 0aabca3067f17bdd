"""Primary keys as database drivers give them, as text: for rows that tell of other rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from envelope_fields.rotation.statements import Key

_KINDS: dict[str, tuple[type, Callable[[Any], str], Callable[[str], Any]]] = {
    "uuid": (UUID, str, UUID),
    "bytes": (bytes, bytes.hex, bytes.fromhex),
    "decimal": (Decimal, str, Decimal),
    "datetime": (datetime, datetime.isoformat, datetime.fromisoformat),  # before date: it is one
    "date": (date, date.isoformat, date.fromisoformat),
    "time": (time, time.isoformat, time.fromisoformat),
    "days": (
        timedelta,
        lambda item: f"{item.days} {item.seconds} {item.microseconds}",
        lambda text: timedelta(*map(int, text.split())),
    ),
}


def as_text(key: Key | None) -> str:
    """Return a key as text from which `from_text` makes the same key; empty for None.

    Raises:
        TypeError: the driver has a type for it that is not known here.
    """
    return "" if key is None else json.dumps([_plain(item) for item in key])


def from_text(text: str) -> Key | None:
    """Return the key that `as_text` made the text of."""
    return tuple(map(_item, json.loads(text))) if text else None


def shown(key: Key) -> str:
    """Return a key for people to read: of one column its value, of several a list of them."""
    # PostgreSQL stores no text with a zero in it.
    texts = [
        item.hex() if isinstance(item, bytes) else str(item).replace("\0", "\\0") for item in key
    ]
    return texts[0] if len(texts) == 1 else f"({', '.join(texts)})"


def _plain(item: Any) -> Any:
    if item is None or isinstance(item, bool | int | float | str):
        return item
    if isinstance(item, memoryview):
        item = bytes(item)
    for name, (kind, write, _) in _KINDS.items():
        if isinstance(item, kind):
            return {name: write(item)}
    raise TypeError(f"a primary key of {type(item).__name__} cannot be written down")


def _item(plain: Any) -> Any:
    if not isinstance(plain, dict):
        return plain
    ((name, text),) = plain.items()
    return _KINDS[name][2](text)
