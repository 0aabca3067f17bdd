"""A data key in the hands of other code."""

from types import TracebackType
from typing import NoReturn, Self

from envelope_fields.crypto.buffers import wipe

_WIPED = "the data key was wiped at the end of its block: decrypt() its ciphertext to use it again"


class DataKey:
    """A data key for use outside: 32 bytes of plaintext, and the ciphertext to store beside.

    Use it as a context manager: on exit the plaintext is wiped. `decrypt` opens `ciphertext`
    (129 bytes) again.

    Attributes:
        ciphertext: an envelope.
    """

    __slots__ = ("_buffer", "_handed_out", "ciphertext")

    def __init__(self, plaintext: bytearray, ciphertext: bytes) -> None:
        self._buffer = plaintext
        # Not the buffer itself: that would go on as a key of zeros when it is wiped.
        self._handed_out: memoryview | None = memoryview(plaintext)
        self.ciphertext = ciphertext

    @property
    def plaintext(self) -> memoryview:
        """The key, 32 bytes in a buffer, which raises an error once the key is wiped.

        Copies, slices and ciphers made of it cannot be reached: let none outlive the block.

        Raises:
            ValueError: the key is wiped.
        """
        if self._handed_out is None:
            raise ValueError(_WIPED)
        return self._handed_out

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        wipe(self._buffer)
        handed_out, self._handed_out = self._handed_out, None
        if handed_out is not None:
            _release(handed_out)

    def __repr__(self) -> str:
        return "<DataKey>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a DataKey is not pickled: store its ciphertext, and decrypt() that")


def _release(handed_out: memoryview) -> None:
    """Have a buffer that was handed out raise from now on."""
    try:
        handed_out.release()
    except BufferError as error:
        raise BufferError(
            "the data key was wiped while something else holds its buffer, such as an array: what "
            "that encrypts from now on, it encrypts under zeros. Release it within the block."
        ) from error
