"""NDJSON files, plain or gzipped, read a line at a time: neither file nor line fills memory."""

from __future__ import annotations

import gzip
import io
import os
import sys
import zlib
from collections.abc import Iterator
from typing import IO, Any, Self

GZIP_MAGIC = b"\x1f\x8b"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Damaged(Exception):
    """The rest of a file cannot be read."""


class Source:
    """A file of lines.

    Args:
        path: its path; `-` is standard input.
        line_bytes: where a longer line is cut off. It is then one byte longer than this.

    Raises:
        OSError: it cannot be opened.
    """

    def __init__(self, path: str, line_bytes: int) -> None:
        self._line_bytes = line_bytes
        self._position = 0
        # A descriptor stays open when what was made for it is closed.
        self._file = _standard_input() if path == "-" else open(path, "rb")  # noqa: SIM115 - closed in __exit__
        self._lines: Any = self._file
        if self._file.peek(2)[:2] == GZIP_MAGIC:
            self._lines = gzip.GzipFile(fileobj=self._file, mode="rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        self._lines.close()
        self._file.close()

    @property
    def size(self) -> int | None:
        """How many bytes the file has, where that is known before it was read."""
        try:
            return os.fstat(self._file.fileno()).st_size or None
        except (OSError, io.UnsupportedOperation):
            return None

    @property
    def position(self) -> int:
        """How many of them were read, or where the size is not known: how many of the lines."""
        return self._file.tell() if self.size else self._position

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Yield number and bytes of each line that is not blank.

        Raises:
            Damaged: the file ends too early, or is not what its beginning says.
        """
        number = 0
        while True:
            try:
                line = self._line()
            except (EOFError, OSError, zlib.error) as error:
                raise Damaged(_explained(error)) from error
            if not line:
                return
            number += 1
            self._position += len(line)
            if number == 1:
                line = line.removeprefix(BYTE_ORDER_MARK)
            if line := line.strip():
                yield number, line

    def _line(self) -> bytes:
        """Read a line; of one that is too long, keep just enough to tell."""
        line: bytes = self._lines.readline(self._line_bytes + 1)
        rest = line
        while len(rest) > self._line_bytes and not rest.endswith(b"\n"):
            rest = self._lines.readline(self._line_bytes + 1)
        return line


def _standard_input() -> IO[bytes]:
    buffer = sys.stdin.buffer
    return buffer if hasattr(buffer, "peek") else io.BufferedReader(buffer)


def _explained(error: Exception) -> str:
    if isinstance(error, EOFError):
        return "the compressed file ends too early"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return "the compressed file is damaged"
