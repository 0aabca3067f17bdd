"""What a root key does, for those who write a backend."""

from __future__ import annotations

from abc import ABC, abstractmethod


class RootKey(ABC):
    """Wraps and unwraps the material of master key versions.

    A backend is named in `ENVELOPE_FIELDS["ROOT_KEYS"][name]["BACKEND"]` and made with the
    `OPTIONS` beside it as keyword arguments. Making one must be cheap and touch nothing outside:
    it happens while settings are read. It must not know Django.
    """

    @abstractmethod
    def wrap(self, material: bytearray, context: bytes) -> bytes:
        """Return `material` (32 bytes) encrypted and bound to `context`, as in KMS Encrypt.

        Raises:
            RootKeyUnavailable: the root key cannot be reached; trying again may help.
            RootKeyRefused: the root key is there and does not allow this.
            ValueError: the root key is missing or is not a key; the message says how to make one.
        """

    @abstractmethod
    def unwrap(self, wrapped: bytes, context: bytes) -> bytearray:
        """Return the material that `wrap` was given, in a buffer that the caller wipes.

        Raises:
            RootKeyRefused: this root key did not wrap it, or for another context.
            RootKeyUnavailable, ValueError: as for `wrap`.
        """

    @abstractmethod
    def check(self) -> None:
        """Raise what `wrap` would raise for a missing or unusable root key; wrap nothing."""
