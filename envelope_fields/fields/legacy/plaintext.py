"""What was never encrypted: text that was there before another package was, or beside it."""

from __future__ import annotations

from typing import ClassVar

from envelope_fields.crypto import format as layout
from envelope_fields.fields.legacy.base import Content, LegacyFormat, NotOpened


class Plaintext(LegacyFormat):
    """Values in clear, as UTF-8. It comes last: what another reader claims is not read by it."""

    package: ClassVar = "plaintext"
    shares_column: ClassVar = True

    def __init__(self) -> None:
        super().__init__()

    def claims(self, stored: bytes) -> bool:
        return not stored.startswith(layout.FORMAT_VERSION)

    def content(self, stored: bytes) -> Content:
        if not self.claims(stored):
            raise NotOpened
        return Content(stored, layers=0)
