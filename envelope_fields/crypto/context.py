"""What a key is bound to, as bytes: the additional data of a wrapping.

A context is PAE(parts), the pre-authentication encoding of PASETO with 64-bit little-endian
integers (`docs/spec/envelope-v1.md`, section "Context"). Its first part is the domain, so that
a context of one kind is never equal to one of another.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple
from uuid import UUID

FIELD = b"field"
KMS = b"kms"
MASTER_KEY_VERSION = b"master-key-version"


def encode(parts: Iterable[bytes]) -> bytes:
    """Return PAE(parts): the number of parts, then each part's length and bytes."""
    parts = list(parts)
    pieces = [integer(len(parts))]
    for part in parts:
        pieces += (len(part).to_bytes(8, "little"), part)  # without a call, for every value
    return b"".join(pieces)


def decode(data: bytes) -> list[bytes]:
    """Return the parts of a PAE.

    Raises:
        ValueError: it is not one.
    """
    count, at = int.from_bytes(data[:8], "little"), 8
    parts = []
    for _ in range(count):
        length, at = int.from_bytes(data[at : at + 8], "little"), at + 8
        parts.append(data[at : at + length])
        at += length
        if at > len(data):
            raise ValueError("not a pre-authentication encoding")
    if at != len(data):
        raise ValueError("not a pre-authentication encoding")
    return parts


def field_context(label: str, bindings: Iterable[tuple[str, bytes]] = ()) -> bytes:
    """Return the context of a field's values: its label, then bound columns and their values."""
    bound = (part for name, value in bindings for part in (name.encode(), value))
    return encode([FIELD, label.encode(), *bound])


def row_contexts(
    label: str, columns: Iterable[tuple[str, Callable[[Any], bytes]]]
) -> Callable[[Iterable[Any]], bytes]:
    """Return what makes the context of a row, as `field_context` does, of its bound values.

    This is done for each value that is read or written, so what is the same for all is made once.
    Each name of a bound column comes with what encodes a value of it.
    """
    bound = [(as_part(name.encode()), encode) for name, encode in columns]
    lead = integer(2 + 2 * len(bound)) + as_part(FIELD) + as_part(label.encode())

    def context(values: Iterable[Any]) -> bytes:
        made = lead
        for (name, encode), value in zip(bound, values, strict=True):
            part = encode(value)
            made += name + len(part).to_bytes(8, "little") + part
        return made

    return context


def kms_context(pairs: Mapping[str, str]) -> bytes:
    """Return the context of a `kms` operation: its encryption context, sorted by key bytes."""
    encoded = sorted((key.encode(), value.encode()) for key, value in pairs.items())
    return encode([KMS, *(part for pair in encoded for part in pair)])


class KeyVersionContext(NamedTuple):
    """What a root key binds the material of a master key version to."""

    key_id: UUID  # of the master key
    version_id: bytes  # 8, by which envelopes name the version
    number: int
    usage: str  # what the material is for

    def encode(self) -> bytes:
        """Return the context for a root key that binds bytes."""
        number = integer(self.number)
        parts = [self.key_id.bytes, self.version_id, number, self.usage.encode()]
        return encode([MASTER_KEY_VERSION, *parts])

    def pairs(self) -> dict[str, str]:
        """Return the context for a root key that binds pairs of text, and shows them in its log."""
        return {
            "master_key": str(self.key_id),
            "version_id": self.version_id.hex(),
            "number": str(self.number),
            "usage": str(self.usage),
        }


def as_part(data: bytes) -> bytes:
    """Return one part of a PAE: its length and the bytes."""
    return len(data).to_bytes(8, "little") + data


def integer(value: int) -> bytes:
    """Return a number that is not negative as PAE has numbers."""
    return value.to_bytes(8, "little")
