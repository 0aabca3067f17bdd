"""Memory for keys: buffers that are filled in place and overwritten after use.

`bytes` cannot be overwritten, so no plaintext key of ours ever becomes one. What Python and
OpenSSL do beyond these buffers is named in `docs/explanation/memory.md`.
"""

import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, SupportsIndex

Buffer = bytearray | memoryview

ZEROS = bytes(64)
NO_ENTROPY = "getentropy(3) failed: the operating system gave no random bytes"


class KeyBuffer(bytearray):
    """A bytearray for a key: it shows nothing in an error report, and does not pickle."""

    __slots__ = ()

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
