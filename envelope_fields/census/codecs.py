"""How the stored values of a column are read: envelopes, and MACs of blind indexes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from envelope_fields.crypto import format as layout
from envelope_fields.crypto.blind_index import DIGEST_BYTES, INDEX_BYTES

if TYPE_CHECKING:
    from envelope_fields.census.columns import Column


class Codec:
    """How the stored values of a column are read: an envelope as bytes, where no subclass differs.

    Attributes:
        label_at: where in a value its label is, by which the values of a key version are found.
        marker: the bytes that each label begins with; a value without them is of another kind.
        shortest: how many bytes a value has at least.
        head_bytes: how many bytes in front of a value a rewrap replaces; the others stay. 0 where
            values of this kind are not rewrapped.
    """

    label_at = slice(0, layout.HEADER_BYTES)
    marker = layout.FORMAT_VERSION
    shortest = layout.OVERHEAD_BYTES
    head_bytes = layout.PAYLOAD_AT

    @property
    def label_bytes(self) -> int:
        """How many bytes a label has."""
        return int(self.label_at.stop - self.label_at.start)

    def label(self, version_id: bytes) -> bytes:
        """Return the label of the values under a key version."""
        return self.marker + version_id

    def version_id(self, label: bytes) -> bytes:
        """Return the id of the key version that a label names; the inverse of `label`."""
        return label[len(self.marker) :]

    def envelope_head(self, head: bytes) -> bytes:
        """Return the first 81 bytes of the envelope whose stored form begins with `head`."""
        return head

    def stored_head(self, envelope_head: bytes) -> bytes:
        """Return what is written in front of a value; the inverse of `envelope_head`."""
        return envelope_head

    def read(self, column: Column, value: Any) -> Any:
        """Read a stored value as the application would, for verification.

        Raises:
            EnvelopeError: it cannot be read.
        """
        return column.encrypted_field.verifier(value, None, None)


class IndexCodec(Codec):
    """A value of a blind index: a MAC, and the id of the version of the search key."""

    label_at = slice(DIGEST_BYTES, INDEX_BYTES)
    marker = b""
    shortest = INDEX_BYTES
    head_bytes = 0


ENVELOPE = Codec()
INDEX = IndexCodec()
