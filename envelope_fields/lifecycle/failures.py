"""Acts on many keys: one that fails is reported, and keeps none of the others from it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from envelope_fields.exceptions import EnvelopeError
from envelope_fields.lifecycle.representation import named
from envelope_fields.models import AuditKey, MasterKey, MasterKeyVersion

KeyRow = MasterKey | MasterKeyVersion | AuditKey

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Refused:
    """A key or version that something was not done to, and why."""

    row: KeyRow
    error: Exception

    def __str__(self) -> str:
        if isinstance(self.error, EnvelopeError):
            return str(self.error)
        return f"{named(self.row)}: {type(self.error).__name__}: {self.error}"


@contextmanager
def collecting(refused: list[Refused], row: KeyRow) -> Iterator[None]:
    """Add what the block raises to `refused`."""
    try:
        yield
    except Exception as error:
        _logger.warning("%s: %s", named(row), error, exc_info=not isinstance(error, EnvelopeError))
        refused.append(Refused(row, error))
