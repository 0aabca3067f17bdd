"""Memory for keys: buffers that are filled in place and overwritten after use.

`bytes` cannot be overwritten, so no plaintext key of ours ever becomes one. What Python and
OpenSSL do beyond these buffers is named in `docs/explanation/memory.md`.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn, SupportsIndex

Buffer = bytearray | memoryview

ZEROS = bytes(64)


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


def random_source(length: int) -> Callable[[], memoryview]:
    """Return a function that draws `length` random bytes into a writable buffer of its own.

    Each call asks the operating system; nothing is kept for the next. The function raises
    OSError where the operating system has no randomness to give.
    """
    fill = _entropy_source()
    array_type, size = ctypes.c_ubyte * length, ctypes.c_size_t(length)

    def draw() -> memoryview:
        array = array_type()
        fill(array, size)
        return memoryview(array).cast("B")

    return draw


def random_buffer(length: int) -> KeyBuffer:
    """Return `length` random bytes in a buffer to be wiped; raises OSError as `random_source`."""
    buffer = KeyBuffer(length)
    _entropy_source()((ctypes.c_ubyte * length).from_buffer(buffer), ctypes.c_size_t(length))
    return buffer


def _entropy_source() -> Callable[[ctypes.Array[ctypes.c_ubyte], ctypes.c_size_t], None]:
    """Choose how to fill a buffer: getentropy(3), which every Unix of today has, or os.urandom.

    os.urandom returns `bytes`, which stay in memory until something else is put there.
    """
    try:
        getentropy = ctypes.PyDLL(None).getentropy
    except (AttributeError, OSError, TypeError):  # pragma: no cover - not on a Unix
        return _fill_from_urandom

    def fill(array: ctypes.Array[ctypes.c_ubyte], size: ctypes.c_size_t) -> None:
        if getentropy(array, size):
            raise OSError("getentropy(3) failed: the operating system gave no random bytes")

    return fill


def _fill_from_urandom(array: ctypes.Array[ctypes.c_ubyte], size: ctypes.c_size_t) -> None:
    memoryview(array).cast("B")[:] = os.urandom(size.value)
