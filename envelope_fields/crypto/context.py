"""What a key is bound to, as bytes: the additional data of a wrapping.

A context is PAE(parts), the pre-authentication encoding of PASETO with 64-bit little-endian
integers (`docs/spec/envelope-v1.md`, section "Context"). Its first part is the domain, so that
a context of one kind is never equal to one of another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from uuid import UUID

__all__ = ["encode", "field_context", "kms_context", "version_context"]

FIELD = b"field"
KMS = b"kms"
MASTER_KEY_VERSION = b"master-key-version"


def encode(parts: Iterable[bytes]) -> bytes:
    """Return PAE(parts): the number of parts, then each part's length and bytes."""
    parts = list(parts)
    return _integer(len(parts)) + b"".join(_integer(len(part)) + part for part in parts)


def field_context(label: str, bindings: Iterable[tuple[str, bytes]] = ()) -> bytes:
    """Return the context of a field's values: its label, then bound columns and their values."""
    bound = (part for name, value in bindings for part in (name.encode(), value))
    return encode([FIELD, label.encode(), *bound])


def kms_context(pairs: Mapping[str, str]) -> bytes:
    """Return the context of a `kms` operation: its encryption context, sorted by key bytes."""
    encoded = sorted((key.encode(), value.encode()) for key, value in pairs.items())
    return encode([KMS, *(part for pair in encoded for part in pair)])


def version_context(key_id: UUID, version_id: bytes, number: int, usage: str) -> bytes:
    """Return what a root key binds the material of a master key version to."""
    return encode([MASTER_KEY_VERSION, key_id.bytes, version_id, _integer(number), usage.encode()])


def _integer(value: int) -> bytes:
    return value.to_bytes(8, "little")
