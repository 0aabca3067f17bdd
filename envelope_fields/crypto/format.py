"""The layout of an envelope, version 1: the only place that knows byte offsets.

Every offset of `docs/spec/envelope-v1.md` (section "Layout") stands here once.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from typing import NamedTuple

from envelope_fields.exceptions import MalformedEnvelope

FORMAT_VERSION = b"\x01"

VERSION_ID_BYTES = 8
NONCE_BYTES = 24
NONCE_PREFIX_BYTES = 12  # the part of the nonce that goes into the derived key
DATA_KEY_BYTES = 32
TAG_BYTES = 16

HEADER_BYTES = 1 + VERSION_ID_BYTES  # format and key version id: what binds, counts and finds
DERIVATION_BYTES = HEADER_BYTES + NONCE_PREFIX_BYTES  # header and prefix: what picks a derived key
WRAPPED_DATA_KEY_AT = HEADER_BYTES + NONCE_BYTES
PAYLOAD_AT = WRAPPED_DATA_KEY_AT + DATA_KEY_BYTES + TAG_BYTES
OVERHEAD_BYTES = PAYLOAD_AT + TAG_BYTES  # what a stored value is longer than its plaintext

TEXT_PREFIX = "envelope:"


class Envelope(NamedTuple):
    """The parts of an envelope, each as bytes."""

    header: bytes
    nonce: bytes
    wrapped_data_key: bytes
    payload: bytes

    @property
    def version_id(self) -> bytes:
        """The id of the key version that wraps the data key, 8 bytes."""
        return self.header[1:]


def header(version_id: bytes) -> bytes:
    """Return the 9 bytes in front of every envelope under the key version `version_id`."""
    return FORMAT_VERSION + version_id


class Codec:
    """What the stored values of a column look like: envelopes as bytes, unless a subclass differs.

    Attributes:
        label_at: where in a value its label is, by which the values of a key version are found.
        marker: the bytes that each label begins with; a value without them is of another kind.
        shortest: how many bytes a value has at least.
        head_bytes: how many bytes in front of a value a rewrap replaces; the others stay. 0 where
            values of this kind are not rewrapped.
    """

    label_at = slice(0, HEADER_BYTES)
    marker = FORMAT_VERSION
    shortest = OVERHEAD_BYTES
    head_bytes = PAYLOAD_AT

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


ENVELOPE = Codec()


def parse(envelope: object) -> Envelope:
    """Split an envelope into its parts, checking format and length but no tag.

    Raises:
        MalformedEnvelope: other than bytes, an unknown format, or too short.
    """
    if not isinstance(envelope, bytes):
        raise MalformedEnvelope(f"not an envelope: {type(envelope).__name__} instead of bytes")
    if not envelope.startswith(FORMAT_VERSION):
        raise MalformedEnvelope("not an envelope: it does not begin with a known format version")
    if len(envelope) < OVERHEAD_BYTES:
        raise MalformedEnvelope(
            f"not an envelope: {len(envelope)} bytes, the shortest has {OVERHEAD_BYTES}"
        )
    return Envelope(
        envelope[:HEADER_BYTES],
        envelope[HEADER_BYTES:WRAPPED_DATA_KEY_AT],
        envelope[WRAPPED_DATA_KEY_AT:PAYLOAD_AT],
        envelope[PAYLOAD_AT:],
    )


def encode_text(envelope: bytes) -> str:
    """Return an envelope as text: `envelope:` and unpadded base64url (RFC 4648, section 5)."""
    return TEXT_PREFIX + urlsafe_b64encode(envelope).rstrip(b"=").decode("ascii")


def decode_text(text: str) -> bytes:
    """Return the envelope that `encode_text` wrote as `text`; the inverse, and strict.

    Raises:
        MalformedEnvelope: no prefix, not canonical base64url, or not an envelope inside.
    """
    if not text.startswith(TEXT_PREFIX):
        raise MalformedEnvelope(f"not an envelope as text: it does not begin with {TEXT_PREFIX!r}")
    encoded = text[len(TEXT_PREFIX) :]
    try:
        envelope = urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
    except (Base64Error, ValueError):
        envelope = b""
    # Decoders skip what they do not know: only the text that we would write is accepted.
    if encode_text(envelope) != text:
        raise MalformedEnvelope("not an envelope as text: not unpadded base64url")
    parse(envelope)
    return envelope
