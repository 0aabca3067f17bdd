"""Encrypted identifiers and bytes: UUIDs, addresses of networks, and what is no text."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from django.db import models
from django.utils.ipv6 import clean_ipv6_address

from envelope_fields.crypto import canonical
from envelope_fields.fields.canonical import CanonicalMixin
from envelope_fields.fields.types import Get, Set, Typed

_OF_IPV4 = 4  # bytes


class EncryptedUUIDField(Typed[Set, Get], CanonicalMixin, models.UUIDField):  # type: ignore[type-arg,misc]
    """A `UUIDField` whose values are stored encrypted."""

    canonical: ClassVar = canonical.UUID_BYTES
    prepared_types = (UUID,)


class EncryptedGenericIPAddressField(  # type: ignore[misc]
    Typed[Set, Get],
    CanonicalMixin,
    models.GenericIPAddressField,  # type: ignore[type-arg]
):
    """A `GenericIPAddressField` whose values are stored encrypted."""

    canonical: ClassVar = canonical.ADDRESS

    def from_plaintext(self, plaintext: bytes) -> str:
        if len(plaintext) == _OF_IPV4:
            return ".".join(map(str, plaintext))
        address = str(canonical.ADDRESS.decode(plaintext))
        return str(clean_ipv6_address(address, self.unpack_ipv4))


class EncryptedBinaryField(Typed[Set, Get], CanonicalMixin, models.BinaryField):  # type: ignore[type-arg,misc]
    """A `BinaryField` whose values are stored encrypted; the attribute is always `bytes`."""

    canonical: ClassVar = canonical.BINARY

    def to_python(self, value: Any) -> Any:
        # Not what refuses bytes in the fields of text.
        return models.BinaryField.to_python(self, value)
