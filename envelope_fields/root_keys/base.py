"""What a root key does, for those who write a backend."""

import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from hmac import compare_digest
from threading import Lock
from typing import Any, ClassVar, Final, Generic, NamedTuple, TypeVar
from uuid import UUID

from envelope_fields.crypto.buffers import KeyBuffer, random_buffer, wipe
from envelope_fields.crypto.context import KeyVersionContext
from envelope_fields.exceptions import (
    EnvelopeError,
    RootKeyRefused,
    RootKeyUnavailable,
    WrappedKeyAltered,
)

_Client = TypeVar("_Client")
_Answer = TypeVar("_Answer")
_logger = logging.getLogger("envelope_fields.root_keys")

MATERIAL_BYTES: Final = 32
# What a root key wraps to see whether it can: no master key has this id, so none is opened by it.
# Policies may ask for a usage, and they allow this one where they allow any.
PROBE: Final = KeyVersionContext(UUID(int=0), bytes(8), 0, "encrypt_decrypt")


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


class ServiceRootKey(RootKey, Generic[_Client]):
    """A root key in a service, which a client asks that is made when it is first needed."""

    asks_service: ClassVar = True
    _client: tuple[int, _Client] | None = None

    @abstractmethod
    def _connect(self) -> _Client:
        """Return a new client, with credentials that are read now."""

    @abstractmethod
    def _failure(self, error: Exception, about: Any) -> Exception:
        """Return the error that a root key raises for one of the client's."""

    def check(self) -> None:
        check_round_trip(self)

    def close(self) -> None:
        """Let go of the client; a call that is under way keeps it until it has its answer."""
        self._client = None

    def after_fork(self) -> None:
        self._client = None

    def _connected(self) -> _Client:
        client = self._client
        if client is None or client[0] != os.getpid():
            # Two threads may both make one, and each has its answer: no lock is held that a
            # child could inherit, and no thread waits for credentials that another asks for.
            client = self._client = (os.getpid(), self._connect())
        return client[1]

    def _ask(self, question: Callable[[], _Answer], about: Any = None) -> _Answer:
        """Put a question; `_failure` is told what it is about, too."""
        try:
            return question()
        except Exception as error:
            failure = self._failure(error, about)
        # Out of its reach: the error of a request holds the request, whose body is the material.
        raise failure

    def _altered(self) -> WrappedKeyAltered:
        return WrappedKeyAltered(
            f"{self} does not open this master key version: it is not the key that wrapped it, or "
            "the row was altered"
        )

    def _unavailable(self, what: str) -> RootKeyUnavailable:
        return RootKeyUnavailable(f"{self}: {what}. Try again")

    def _unlisted(self, kind: str) -> RootKeyUnavailable:
        _logger.warning("%s: an answer that is in no list: %s", self, kind)
        return self._unavailable(f"an answer that is in no list ({kind})")


@contextmanager
def locked(lock: Lock, seconds: float, otherwise: str) -> Iterator[None]:
    """Hold a lock that other threads may have for so many seconds.

    Raises:
        RootKeyUnavailable: one still has it; with the message `otherwise`.
    """
    if not lock.acquire(timeout=seconds):
        raise RootKeyUnavailable(otherwise)
    try:
        yield
    finally:
        lock.release()


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
