"""What the bytes of a column mean.

The census asks a column's codec which key version a stored value names, jobs ask it by what values
are found and which bytes a rewrap replaces, and verification asks it whether a value can be read.
An envelope is one kind of value; a column may hold others.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from envelope_fields.crypto import format as layout

if TYPE_CHECKING:
    from envelope_fields.census.columns import Column


class Codec(ABC):
    """How the stored values of a column are read.

    Attributes:
        label_at: where in a value its label is, by which the values of a key version are found.
        marker: the bytes that each label begins with; a value without them is of another kind.
        shortest: how many bytes a value has at least.
        head_bytes: how many bytes in front of a value a rewrap replaces; the others stay. 0 where
            values of this kind are not rewrapped.
    """

    label_at: slice
    marker: bytes
    shortest: int
    head_bytes: int

    @property
    def label_bytes(self) -> int:
        """How many bytes a label has."""
        return int(self.label_at.stop - self.label_at.start)

    @abstractmethod
    def label(self, version_id: bytes) -> bytes:
        """Return the label of the values under a key version."""

    @abstractmethod
    def version_id(self, label: bytes) -> bytes:
        """Return the id of the key version that a label names; the inverse of `label`."""

    @abstractmethod
    def envelope_head(self, head: bytes) -> bytes:
        """Return the first 81 bytes of the envelope whose stored form begins with `head`."""

    @abstractmethod
    def stored_head(self, envelope_head: bytes) -> bytes:
        """Return what is written in front of a value; the inverse of `envelope_head`."""

    @abstractmethod
    def read(self, column: Column, value: Any) -> Any:
        """Read a stored value as the application would, for verification.

        Raises:
            EnvelopeError: it cannot be read.
        """


class EnvelopeCodec(Codec):
    """An envelope as bytes (docs/spec/envelope-v1.md, "Layout")."""

    label_at = slice(0, layout.HEADER_BYTES)
    marker = layout.FORMAT_VERSION
    shortest = layout.OVERHEAD_BYTES
    head_bytes = layout.PAYLOAD_AT

    def label(self, version_id: bytes) -> bytes:
        return layout.header(version_id)

    def version_id(self, label: bytes) -> bytes:
        return label[len(layout.FORMAT_VERSION) :]

    def envelope_head(self, head: bytes) -> bytes:
        return head

    def stored_head(self, envelope_head: bytes) -> bytes:
        return envelope_head

    def read(self, column: Column, value: Any) -> Any:
        return column.encrypted_field.verifier(value, None, None)


ENVELOPE = EnvelopeCodec()
