"""What is read of a row, and what is to be written to it."""

from __future__ import annotations

from typing import Any, NamedTuple

from envelope_fields.crypto import format as layout

Key = tuple[Any, ...]  # a row's primary key as the driver gives it, one item a column


class Stored(NamedTuple):
    """A stored value without its payload."""

    key: Key
    head: bytes  # the 81 bytes in front of the payload
    size: int  # of the whole value, in bytes

    @property
    def version_id(self) -> bytes:
        """The key version that the value is under."""
        return self.head[1 : layout.HEADER_BYTES]


class Change(NamedTuple):
    """What is to be written to a row whose value still begins with `head`."""

    key: Key
    head: bytes
    new: bytes  # the new head; or, in a change of whole values, the new value
