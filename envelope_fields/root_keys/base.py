"""What a root key does, for those who write a backend."""

from abc import ABC, abstractmethod
from typing import NamedTuple

from envelope_fields.crypto.context import KeyVersionContext
from envelope_fields.exceptions import RootKeyRefused


class Wrapped(NamedTuple):
    """What `RootKey.wrap` returns.

    Attributes:
        material: the wrapped bytes, which are stored.
        wrapping_key_id: what the root key wrapped with, in its own words, such as the version of a
            key in a vault; stored beside the bytes. At most 500 characters, and nothing secret.
    """

    material: bytes
    wrapping_key_id: str = ""


class MayNotUnwrap(RootKeyRefused):
    """This process may wrap with the root key, and may not unwrap.

    A version that it makes serves nothing until a process that may unwrap has opened it.
    """


class RootKey(ABC):
    """Wraps and unwraps the material of master key versions.

    A backend is named in `ENVELOPE_FIELDS["ROOT_KEYS"][name]["BACKEND"]` and made with the
    `OPTIONS` beside it as keyword arguments, once for each process. Making one must be cheap and
    touch nothing outside. Its methods are called by several threads at once. It must not know
    Django.
    """

    @abstractmethod
    def wrap(self, material: bytearray, context: KeyVersionContext) -> Wrapped:
        """Return `material` (32 bytes) encrypted and bound to `context`, as in KMS Encrypt.

        Raises:
            RootKeyUnavailable: the root key cannot be reached; trying again may help.
            RootKeyRefused: the root key is there and does not allow this.
            ValueError: the root key is missing or is not a key; the message says how to make one.
        """

    @abstractmethod
    def unwrap(self, wrapped: bytes, context: KeyVersionContext) -> bytearray:
        """Return the material that `wrap` was given, in a buffer that the caller wipes.

        Raises:
            RootKeyRefused: this root key did not wrap it, or for another context.
            MayNotUnwrap: this process has the right to wrap alone.
            RootKeyUnavailable, ValueError: as for `wrap`.
        """

    @abstractmethod
    def check(self) -> None:
        """Raise what `wrap` would raise for a missing or unusable root key; wrap nothing."""

    def close(self) -> None:  # noqa: B027 - most have nothing to close
        """Let go of connections and sessions: the settings have changed, or the process ends."""

    def after_fork(self) -> None:  # noqa: B027
        """Forget what a forked process must not share with its parent; called in the child."""
