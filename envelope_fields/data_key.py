"""A data key in the hands of other code."""

from __future__ import annotations

from types import TracebackType
from typing import NoReturn, Self

from envelope_fields.crypto.buffers import wipe


class DataKey:
    """A data key for use outside: 32 bytes of plaintext, and the ciphertext to store beside.

    Use it as a context manager: on exit the plaintext is wiped. `decrypt` opens `ciphertext`
    (129 bytes) again.
    """

    __slots__ = ("ciphertext", "plaintext")

    def __init__(self, plaintext: bytearray, ciphertext: bytes) -> None:
        self.plaintext = plaintext
        self.ciphertext = ciphertext

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        wipe(self.plaintext)

    def __repr__(self) -> str:
        return "<DataKey>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a DataKey is not pickled: store its ciphertext, and decrypt() that")
