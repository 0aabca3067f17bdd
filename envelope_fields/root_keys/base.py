"""What a root key does, for those who write a backend."""

from abc import ABC, abstractmethod
from hashlib import sha256
from hmac import compare_digest
from typing import Any, ClassVar, Final, NamedTuple
from uuid import UUID

from envelope_fields.crypto.buffers import KeyBuffer, random_buffer, wipe
from envelope_fields.crypto.context import KeyVersionContext
from envelope_fields.exceptions import EnvelopeError, RootKeyRefused, WrappedKeyAltered

MATERIAL_BYTES: Final = 32
# What a root key wraps to see whether it can: no master key has this id, so none is opened by it.
PROBE: Final = KeyVersionContext(UUID(int=0), bytes(8), 0, "check")


class Wrapped(NamedTuple):
    """What `RootKey.wrap` returns.

    Attributes:
        material: the wrapped bytes, which are stored.
        wrapping_key_id: what the root key wrapped with, in its own words, such as the version of a
            key in a vault; stored beside the bytes. At most 500 characters, and nothing secret.
    """

    material: bytes
    wrapping_key_id: str = ""


class Unwrapped(NamedTuple):
    """What `RootKey.unwrap_identified` returns.

    Attributes:
        material: the material, in a buffer that the caller wipes.
        wrapping_key_id: what the service says, when it opens the bytes, that it wrapped them with;
            as in `Wrapped`, whose id it replaces. Empty where it does not say.
    """

    material: bytearray
    wrapping_key_id: str = ""


class MayNotUnwrap(RootKeyRefused):
    """This process may wrap with the root key, and may not unwrap.

    A version that it makes serves nothing until a process that may unwrap has opened it.
    """


class RootKey(ABC):
    """Wraps and unwraps the material of master key versions.

    A backend is named in `ENVELOPE_FIELDS["ROOT_KEYS"][name]["BACKEND"]` and made with the
    `OPTIONS` beside it as keyword arguments, once for each process. Making one must be cheap and
    touch nothing outside. Its methods are called by several threads at once, and by processes that
    were forked after it was made. It must not know Django.

    Its errors are of three classes, because material that is in use depends on them: with
    `RootKeyUnavailable` and `WrappedKeyAltered` it stays in use for a while, with `RootKeyRefused`
    it is dropped. A service's error is `RootKeyRefused` only where it is in a list of refusals;
    what is in no list, and what is wrong with our own credentials, clock or network, is
    `RootKeyUnavailable`. No message holds a secret; each says what to do next.

    Attributes:
        asks_service: whether `check` asks something outside of this process. Then `manage.py check`
            has it do so with `--deploy` alone.
    """

    asks_service: ClassVar[bool] = False

    @abstractmethod
    def wrap(self, material: bytearray, context: KeyVersionContext) -> Wrapped:
        """Return `material` (32 bytes) encrypted and bound to `context`, as in KMS Encrypt.

        Raises:
            RootKeyUnavailable: the root key cannot be asked; trying again may help.
            RootKeyRefused: the root key is there and does not allow this.
            ValueError: the settings are wrong: the root key is missing, is not a key, or is one of
                another kind; the message says what to change.
        """

    @abstractmethod
    def unwrap(self, wrapped: bytes, context: KeyVersionContext) -> bytearray:
        """Return the material that `wrap` was given, in a buffer that the caller wipes.

        Raises:
            WrappedKeyAltered: this root key did not wrap these bytes, or for another context.
            MayNotUnwrap: this process has the right to wrap alone.
            RootKeyUnavailable, RootKeyRefused, ValueError: as for `wrap`.
        """

    def unwrap_identified(self, wrapped: bytes, context: KeyVersionContext) -> Unwrapped:
        """Return what `unwrap` returns, and what it was wrapped with.

        For a service that names the version of its key when it decrypts and not when it encrypts,
        as AWS KMS does (`KeyMaterialId`). It is asked once, right after `wrap`, or when a version
        that was made by a process that may wrap alone is opened for the first time.
        """
        return Unwrapped(self.unwrap(wrapped, context))

    @abstractmethod
    def check(self) -> None:
        """Raise what `wrap` and `unwrap` would raise for a root key that cannot do both.

        It stores nothing, and may ask the service: for `check --deploy`, and for probes of
        readiness, never of liveness.

        Raises:
            MayNotUnwrap: this process has the right to wrap alone.
            RootKeyUnavailable, RootKeyRefused, ValueError: as for `wrap`.
        """

    def current_wrapping_key_id(self) -> str | None:
        """Return the `wrapping_key_id` that would be kept of what is wrapped now.

        What has another one is under an earlier version of this root key, and can be moved to
        this one. It may ask the service, with the rights of `wrap`.

        Returns:
            None where the root key has no versions, or does not say which one wraps.

        Raises:
            RootKeyUnavailable, RootKeyRefused, ValueError: as for `wrap`.
        """
        return None

    def __reduce__(self) -> str:
        raise TypeError("a root key is not pickled: name it, and look it up where it is needed")

    def refresh(self) -> None:
        """Begin anew, with credentials that are read again: what was refused is asked once more."""
        self.close()

    def close(self) -> None:  # noqa: B027 - most have nothing to close
        """Let go of connections and sessions: the settings have changed, or the process ends.

        The next call begins new ones.
        """

    def after_fork(self) -> None:  # noqa: B027
        """Forget what a forked process must not share with its parent; called in the child."""


def with_digest(material: bytearray, context: KeyVersionContext) -> KeyBuffer:
    """Return material and what it is bound to as one object, for services that bind nothing.

    Returns:
        `material` followed by SHA-256 of `context.encode()`, 64 bytes, which the caller wipes.
    """
    joined = KeyBuffer(2 * MATERIAL_BYTES)
    joined[:MATERIAL_BYTES] = material
    joined[MATERIAL_BYTES:] = sha256(context.encode()).digest()
    return joined


def without_digest(joined: bytearray, context: KeyVersionContext) -> KeyBuffer:
    """Return the material of what `with_digest` made for the same context.

    Args:
        joined: what the service opened; the caller wipes it.
        context: what it has to be bound to; compared in constant time.

    Raises:
        WrappedKeyAltered: it is bound to another context, or is no such object.
    """
    digest = sha256(context.encode()).digest()
    if not compare_digest(bytes(memoryview(joined)[MATERIAL_BYTES:]), digest):
        raise WrappedKeyAltered(
            "what the root key opened is bound to another master key version: the row was altered"
        )
    return KeyBuffer(memoryview(joined)[:MATERIAL_BYTES])


def seconds(timeout: Any) -> float:
    """Return the option `timeout` as a number.

    Raises:
        ValueError: it is none, or not more than 0.
    """
    if isinstance(timeout, int | float) and not isinstance(timeout, bool) and timeout > 0:
        return float(timeout)
    raise ValueError("timeout is a number of seconds, more than 0")


def check_round_trip(root_key: RootKey) -> None:
    """Have a root key wrap random bytes and open them again; both are forgotten.

    Raises:
        RootKeyRefused: it does not give back what it wrapped; and all that `wrap` and `unwrap` do.
    """
    material = random_buffer(MATERIAL_BYTES)
    opened = root_key.unwrap(root_key.wrap(material, PROBE).material, PROBE)
    try:
        if not compare_digest(opened, material):
            raise RootKeyRefused(f"{root_key!r} does not give back what it wrapped")
    finally:
        wipe(opened)
        wipe(material)


def may_wrap(root_key: RootKey) -> bool:
    """Tell whether this process has the right to wrap, after it was refused to unwrap."""
    try:
        wrap_probe(root_key)
    except (EnvelopeError, ValueError):
        return False
    return True


def wrap_probe(root_key: RootKey) -> Wrapped:
    """Have a root key wrap random bytes, which are forgotten; errors as for `wrap`."""
    material = random_buffer(MATERIAL_BYTES)
    try:
        return root_key.wrap(material, PROBE)
    finally:
        wipe(material)
