"""Memory for keys: buffers that are filled in place and overwritten after use, also by other code.

`bytes` cannot be overwritten, so no plaintext key of ours ever becomes one. What Python and
OpenSSL do beyond these buffers is named in `docs/explanation/memory.md`.
"""

import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, Self, SupportsIndex

Buffer = bytearray | memoryview

ZEROS = bytes(64)
NO_ENTROPY = "getentropy(3) failed: the operating system gave no random bytes"


class KeyBuffer(bytearray):
    """A bytearray for a key: it shows nothing in an error report, and does not pickle.

    It is wiped after use. Where a signal handler has raised in between, it is wiped at its end.
    """

    __slots__ = ()

    def __del__(self) -> None:
        self[:] = bytes(len(self))

    def __repr__(self) -> str:
        return f"<KeyBuffer of {len(self)} bytes>"

    __str__ = __repr__

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError("a KeyBuffer is not pickled")


def wipe(buffer: Buffer) -> None:
    """Overwrite a key buffer of at most 64 bytes with zeros."""
    buffer[:] = ZEROS[: len(buffer)]


@contextmanager
def wiped(length: int) -> Iterator[KeyBuffer]:
    """Lend a zeroed buffer of `length` bytes (at most 64) and wipe it, also on failure."""
    buffer = KeyBuffer(length)
    try:
        yield buffer
    finally:
        wipe(buffer)


class RandomParts:
    """Draws random bytes into memory that is cut into parts once, and used again (ADR 7).

    What `draw` returns belongs to the caller alone, until it is wiped and put back: no thread,
    greenlet or signal handler finds it meanwhile. After a failure it is not put back, because a
    traceback may hold it.
    """

    __slots__ = ("_fill", "_idle", "_lengths", "_size", "put_back")

    def __init__(self, *lengths: int) -> None:
        self._lengths = lengths
        self._size = ctypes.c_size_t(sum(lengths))
        self._fill = _entropy_source()
        self._idle: list[tuple[Any, ...]] = []
        self.put_back = self._idle.append  # like pop(), one step for all threads

    def draw(self) -> tuple[Any, ...]:
        """Return writable parts, filled by the operating system for this call, and what they cut.

        Raises:
            OSError: the operating system has no randomness to give.
        """
        try:
            drawn = self._idle.pop()
        except IndexError:
            drawn = self._cut()
        if self._fill(drawn[-1], self._size):
            raise OSError(NO_ENTROPY)
        return drawn

    def _cut(self) -> tuple[Any, ...]:
        array = (ctypes.c_ubyte * self._size.value)()
        whole, end = memoryview(array).cast("B"), 0
        return *(whole[end : (end := end + length)] for length in self._lengths), array


def random_buffer(length: int) -> KeyBuffer:
    """Return `length` random bytes in a buffer to be wiped.

    Raises:
        OSError: the operating system has no randomness to give.
    """
    buffer = KeyBuffer(length)
    array = (ctypes.c_ubyte * length).from_buffer(buffer)
    if _entropy_source()(array, ctypes.c_size_t(length)):
        raise OSError(NO_ENTROPY)
    return buffer


def _entropy_source() -> Callable[[ctypes.Array[ctypes.c_ubyte], ctypes.c_size_t], int]:
    """Choose how to fill a buffer: getentropy(3), which every Unix of today has, or os.urandom.

    os.urandom returns `bytes`, which stay in memory until something else is put there. What is
    returned says 0 for success, as C does, so that the path of every value has no call more.
    """
    try:
        getentropy: Any = ctypes.PyDLL(None).getentropy
    except (AttributeError, OSError, TypeError):  # pragma: no cover - not on a Unix
        return _fill_from_urandom
    return getentropy  # type: ignore[no-any-return]  # of ctypes


def _fill_from_urandom(array: ctypes.Array[ctypes.c_ubyte], size: ctypes.c_size_t) -> int:
    memoryview(array).cast("B")[:] = os.urandom(size.value)
    return 0


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

    def __exit__(self, *_: object) -> None:
        wipe(self._buffer)
        handed_out, self._handed_out = self._handed_out, None
        if handed_out is None:
            return
        try:
            handed_out.release()  # and raise from now on
        except BufferError as error:
            raise BufferError(
                "the data key was wiped while something else holds its buffer, such as an array: "
                "what that encrypts from now on, it encrypts under zeros. Release it within the "
                "block."
            ) from error

    def __repr__(self) -> str:
        return "<DataKey>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a DataKey is not pickled: store its ciphertext, and decrypt() that")
