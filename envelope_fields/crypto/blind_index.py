"""Blind indexes, version 1: what a MAC is made over, and the 24 bytes that are stored.

An index value is the first 16 bytes of HMAC-SHA-256 over a message, and the id of the key version
(`docs/spec/blind-index-v1.md`). The message begins with what is the same for all values of an
index, so that an HMAC which has absorbed that is copied for each value.
"""

import struct
from collections.abc import Iterable
from enum import StrEnum
from typing import Final, NamedTuple

from envelope_fields.crypto.context import as_part, encode, integer
from envelope_fields.crypto.format import VERSION_ID_BYTES, Codec

INDEX: Final = b"index-v1"
KMS_MAC: Final = b"kms-mac"
DIGEST_BYTES: Final = 16
INDEX_BYTES: Final = DIGEST_BYTES + VERSION_ID_BYTES

_PARTS: Final = 7
_UNSPREAD: Final = 0


class Kind(StrEnum):
    """What the values of an index are made of."""

    FIELD = "field"  # whole values of one index
    SHARED = "shared"  # the same of several, which share a name and can be compared
    WORD = "word"
    PREFIX = "prefix"
    BUCKET = "bucket"


class IndexDomain(NamedTuple):
    """What is the same for all values of an index."""

    kind: Kind
    name: str  # the label of the index, or the name that several share
    normalizer: str  # by its name
    normalizer_version: int
    part: str = ""  # of a value: the path in a JSON document, or a bucket; empty for all of it

    def encode(self) -> bytes:
        """Return what every message of the index begins with."""
        normalizer = encode(
            [self.normalizer.encode(), integer(self.normalizer_version), self.part.encode()]
        )
        parts = (INDEX, self.kind.encode(), self.name.encode(), normalizer)
        return integer(_PARTS) + b"".join(map(as_part, parts))


def value_part(
    values: Iterable[bytes],
    scope: Iterable[tuple[str, bytes]] = (),
    spread: int = _UNSPREAD,
) -> bytes:
    """Return what the message of one value goes on with, after `IndexDomain.encode`.

    Args:
        values: the canonical bytes of the normal form; of each, where an index is over several.
        scope: the columns that equality is confined to: their names and canonical values.
        spread: which of several index values of one value it is; 0 where there is one.
    """
    confined = encode(part for name, value in scope for part in (name.encode(), value))
    return as_part(confined) + as_part(integer(spread)) + as_part(encode(values))


def single_value_part(value: bytes) -> bytes:
    """Return what `value_part` does for one value without a scope, in a tenth of the time."""
    length = len(value)
    return (_HEADS[length] if length < len(_HEADS) else _head(length)) + value


def _head(length: int) -> bytes:
    """Return what comes before one value of a length."""
    return _UNCONFINED + struct.pack("<QQQ", length + 16, 1, length)


def index_value(digest: bytes, version: bytes) -> bytes:
    """Return what is stored: the beginning of a digest, and the id of the key version."""
    return digest[:DIGEST_BYTES] + version


def version_id(value: bytes) -> bytes:
    """Return the id of the key version that an index value is under."""
    return value[DIGEST_BYTES:INDEX_BYTES]


class IndexCodec(Codec):
    """A value of a blind index: a MAC, and the id of the version of the search key."""

    label_at = slice(DIGEST_BYTES, INDEX_BYTES)
    marker = b""
    shortest = INDEX_BYTES
    head_bytes = 0


INDEX_CODEC: Final = IndexCodec()


def kms_mac_message(context: bytes, message: bytes) -> bytes:
    """Return what `kms` makes a MAC over: never a message of an index, nor of an audit event.

    The context is that of the operation, as `kms_context` encodes it.
    """
    return encode([KMS_MAC, context, message])


_UNCONFINED: Final = as_part(encode([])) + as_part(integer(_UNSPREAD))
_HEADS: Final = tuple(map(_head, range(256)))  # most values are short
