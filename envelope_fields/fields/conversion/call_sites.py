"""Call sites that still find or order rows by a column in clear: each is logged once."""

import logging
import sys
from typing import Any, NamedTuple

_logger = logging.getLogger("envelope_fields.fields.conversion")

# Whose code is looked through for the code that has called it.
_BETWEEN = frozenset(
    ("django", "envelope_fields", "asgiref", "asyncio", "concurrent", "threading", "contextvars")
)

_noted: set[tuple[str, str, Any]] = set()


class CallSite(NamedTuple):
    """A line of code."""

    filename: str
    line: int

    def __str__(self) -> str:
        return f"{self.filename}:{self.line}"


def call_site() -> CallSite | None:
    """Return the line that has called Django; None in a thread that Django has begun itself."""
    frame = sys._getframe(1)
    while frame is not None:
        if str(frame.f_globals.get("__name__", "")).partition(".")[0] not in _BETWEEN:
            return CallSite(frame.f_code.co_filename, frame.f_lineno)
        frame = frame.f_back  # type: ignore[assignment]  # None at last
    return None


def note(field: Any, what: str, where: CallSite | None) -> None:
    """Log a call site that asks for the column in clear, if that was not done yet.

    Args:
        field: the encrypted field.
        what: how it asks.
        where: the line of code.
    """
    noted = (str(field), what, where)
    if noted in _noted:
        return
    _noted.add(noted)
    _logger.warning(
        "%s: %s goes through the column of %s in clear, and is refused when the conversion reads "
        "what is encrypted. %s",
        where or "code in a thread of its own",
        what,
        field,
        f'Look for equal values by a blind index, `{field.name}_index = BlindIndexField("'
        f'{field.name}")`, and do the rest in Python.',
    )


def forget() -> None:
    """Log each call site once more."""
    _noted.clear()
