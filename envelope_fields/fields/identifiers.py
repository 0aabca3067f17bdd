"""Encrypted identifiers and bytes: UUIDs, addresses of networks, and what is not text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Unpack, overload
from uuid import UUID

from django.db import models

from envelope_fields.crypto import canonical
from envelope_fields.fields.canonical import CanonicalMixin, EmptyIsNullMixin
from envelope_fields.fields.types import AddressOptions, Get, No, Options, Set, TextOptions, Typed


class EncryptedUUIDField(Typed[Set, Get], CanonicalMixin, models.UUIDField):  # type: ignore[type-arg,misc]
    """A `UUIDField` whose values are stored encrypted."""

    if TYPE_CHECKING:
        # For the plugin of django-stubs, which do not know that Django takes an integer.
        _pyi_private_set_type: UUID | str | int  # type: ignore[assignment]

        @overload
        def __init__(
            self: EncryptedUUIDField[UUID | str | int, UUID],
            *args: Any,
            **options: Unpack[Options[No]],
        ) -> None: ...
        @overload
        def __init__(
            self: EncryptedUUIDField[UUID | str | int | None, UUID | None],
            *args: Any,
            **options: Unpack[Options[bool]],
        ) -> None: ...
        def __init__(self, *args: Any, **options: Any) -> None: ...

    canonical: ClassVar = canonical.UUID_BYTES
    prepared_types = (UUID,)


class EncryptedGenericIPAddressField(  # type: ignore[misc]
    Typed[Set, Get],
    EmptyIsNullMixin,
    models.GenericIPAddressField,  # type: ignore[type-arg]
):
    """A `GenericIPAddressField` whose values are stored encrypted."""

    if TYPE_CHECKING:
        _pyi_private_set_type: str

        @overload
        def __init__(
            self: EncryptedGenericIPAddressField[str, str],
            *args: Any,
            **options: Unpack[AddressOptions[No]],
        ) -> None: ...
        @overload
        def __init__(
            self: EncryptedGenericIPAddressField[str | None, str | None],
            *args: Any,
            **options: Unpack[AddressOptions[bool]],
        ) -> None: ...
        def __init__(self, *args: Any, **options: Any) -> None: ...

    canonical: ClassVar = canonical.ADDRESS

    def is_null(self, value: Any) -> bool:
        return value is None or (isinstance(value, str) and not value)

    def meant_by(self, value: Any) -> Any:
        if type(value) is str and not self._prepares:
            # Django reads it twice, and writes it in between.
            found = canonical.packed(value)
            if found is not None and not (self.unpack_ipv4 and found.startswith(canonical.MAPPED)):
                return found
        return super().meant_by(value)

    def from_plaintext(self, plaintext: bytes) -> str:
        if self.unpack_ipv4 and plaintext.startswith(canonical.MAPPED):
            plaintext = plaintext[len(canonical.MAPPED) :]
        return canonical.text_of(plaintext)


class EncryptedBinaryField(Typed[Set, Get], CanonicalMixin, models.BinaryField):  # type: ignore[type-arg,misc]
    """A `BinaryField` whose values are stored encrypted; the attribute is always `bytes`."""

    if TYPE_CHECKING:
        _pyi_private_set_type: bytes | bytearray | memoryview
        _pyi_private_get_type: bytes

        @overload
        def __init__(
            self: EncryptedBinaryField[bytes | bytearray | memoryview, bytes],
            *args: Any,
            **options: Unpack[TextOptions[No]],
        ) -> None: ...
        @overload
        def __init__(
            self: EncryptedBinaryField[bytes | bytearray | memoryview | None, bytes | None],
            *args: Any,
            **options: Unpack[TextOptions[bool]],
        ) -> None: ...
        def __init__(self, *args: Any, **options: Any) -> None: ...

    canonical: ClassVar = canonical.BINARY

    def to_python(self, value: Any) -> Any:
        # Not what refuses bytes in the fields of text.
        return models.BinaryField.to_python(self, value)
