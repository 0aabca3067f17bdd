"""What was never encrypted: text that was there before another package was, or beside it."""

from typing import ClassVar

from envelope_fields.crypto import format as layout
from envelope_fields.fields.legacy import tokens
from envelope_fields.fields.legacy.base import Content, LegacyFormat, NotOpened


class Plaintext(LegacyFormat):
    """Values in clear, as UTF-8. It comes last: what another reader claims is not read by it.

    Nor is what only stands for a value: a Fernet token, also one that was cut off or whose reader
    is not declared, or the text of an envelope. As a value, it would be encrypted once more.
    """

    package: ClassVar = "plaintext"
    shares_column: ClassVar = True
    is_clear: ClassVar = True

    def __init__(self) -> None:
        super().__init__()

    def claims(self, stored: bytes) -> bool:
        is_other = stored.startswith((layout.FORMAT_VERSION, layout.TEXT_PREFIX.encode()))
        return not is_other and not tokens.resembles(stored)

    def content(self, stored: bytes) -> Content:
        if not self.claims(stored):
            raise NotOpened
        return Content(stored, layers=0)
