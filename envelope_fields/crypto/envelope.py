"""Encrypt, decrypt and rewrap values: the envelope operations of `docs/spec/envelope-v1.md`.

The functions take keys that are ready to use; where those come from is the keyring's business.
This is the path of every value, so it is written flat.
"""

from operator import itemgetter
from os import urandom
from struct import iter_unpack
from typing import NamedTuple, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from envelope_fields.crypto import format as layout
from envelope_fields.crypto.buffers import Buffer, RandomParts
from envelope_fields.exceptions import DecryptionFailed

# A data key encrypts one plaintext once, so its nonce never repeats (SP 800-38D, section 8.2.1).
PAYLOAD_NONCE = bytes(12)

# Slices and constants made once: a value that is read is cut in four.
_FORMAT = layout.FORMAT_VERSION
_HEADER = slice(0, layout.HEADER_BYTES)
_NONCE_SUFFIX = slice(layout.DERIVATION_BYTES, layout.WRAPPED_DATA_KEY_AT)
_WRAPPED_DATA_KEY = slice(layout.WRAPPED_DATA_KEY_AT, layout.PAYLOAD_AT)
_PAYLOAD = slice(layout.PAYLOAD_AT, None)
_ALL = slice(None)

_NONCE_SUFFIX_BYTES = layout.NONCE_BYTES - layout.NONCE_PREFIX_BYTES
_suffix_and_data_key = RandomParts(_NONCE_SUFFIX_BYTES, layout.DATA_KEY_BYTES)
# A bytearray is copied into another as it is; bytes would be made a bytearray each time.
_DATA_KEY_ZEROS = bytearray(layout.DATA_KEY_BYTES)
_UNWRAP_FAILED = "its data key does not open: altered, or moved here from another place"


class UnwrapFailed(DecryptionFailed):
    """The data key does not open: another context, another key, or an altered header."""


class WrappingKey(NamedTuple):
    """What a writer needs of a key version: all three belong together and are replaced as one."""

    header: bytes  # format and key version id
    prefix: bytes  # the nonce prefix that `aead` is derived for
    aead: AESGCM

    def __repr__(self) -> str:
        return f"<WrappingKey of version {self.header[1:].hex()}>"


def encrypt(wrapping_key: WrappingKey, plaintext: bytes | Buffer, context: bytes) -> bytes:
    """Encrypt a value under a fresh data key and return its envelope.

    Args:
        wrapping_key: the derived key and nonce prefix of the current key version.
        plaintext: the value, of any length.
        context: what the data key is bound to, as `crypto.context` encodes it.
    """
    try:
        header, prefix, aead = wrapping_key
        drawn = _suffix_and_data_key.draw()
        suffix, data_key, _ = drawn
        try:
            envelope = b"".join(
                (
                    header,
                    prefix,
                    suffix,
                    aead.encrypt(suffix, data_key, header + context),
                    AESGCM(data_key).encrypt(PAYLOAD_NONCE, plaintext, layout.FORMAT_VERSION),
                )
            )
        finally:
            data_key[:] = _DATA_KEY_ZEROS
        if not plaintext:
            _cover_traces()
        _suffix_and_data_key.put_back(drawn)
        return envelope
    except BaseException:
        del plaintext  # error reports show the variables of each frame
        raise


def decrypt(unwrapping_key: AESGCM, envelope: bytes, context: bytes) -> bytes:
    """Open an envelope, whose format was checked, and return its plaintext.

    Args:
        unwrapping_key: the key derived for the version and nonce prefix that the envelope names.
        envelope: the stored bytes.
        context: what the data key was bound to.

    Raises:
        UnwrapFailed: the data key does not open.
        DecryptionFailed: the data key opens, the payload does not.
    """
    return decrypt_bound(unwrapping_key, envelope, envelope[_HEADER] + context)


def decrypt_bound(unwrapping_key: AESGCM, envelope: bytes, additional_data: bytes) -> bytes:
    """Return what `decrypt` does, given header and context as one; errors as above."""
    data_key = _DATA_KEY_ZEROS.copy()
    try:
        try:
            unwrapping_key.decrypt_into(
                envelope[_NONCE_SUFFIX],
                envelope[_WRAPPED_DATA_KEY],
                additional_data,
                data_key,
            )
        except (InvalidTag, ValueError):  # the latter says that it is cut off before its payload
            raise UnwrapFailed(_UNWRAP_FAILED) from None
        return AESGCM(data_key).decrypt(PAYLOAD_NONCE, envelope[_PAYLOAD], _FORMAT)
    except InvalidTag:
        raise DecryptionFailed("its payload was altered") from None
    finally:
        # Also on failure: decrypt_into leaves what it could not verify in the buffer.
        data_key[_ALL] = _DATA_KEY_ZEROS


class _Suffixes:
    """Nonce suffixes of some values, drawn at once; `draw` returns the next one."""

    __slots__ = ("draw",)

    def refill(self, values: int) -> None:
        drawn = iter_unpack(f"{_NONCE_SUFFIX_BYTES}s", urandom(values * _NONCE_SUFFIX_BYTES))
        self.draw = map(itemgetter(0), drawn).__next__


class Rewrapper:
    """Wraps the data keys of some envelopes anew, all under one wrapping key; for one thread.

    What is the same for all of them is put together once, and their nonces are drawn at once. It is
    a context manager, which leaves no data key behind:

        with Rewrapper(wrapping_key, context, len(envelopes)) as rewrapper:
            heads = [rewrapper.rewrap(opened_by, each, context) for each in envelopes]

    Args:
        wrapping_key: the derived key and nonce prefix of the current key version.
        context: what the data keys will be bound to.
        values: how many envelopes at most.

    Attributes:
        header: what envelopes begin with then.
    """

    __slots__ = (
        "_additional_data", "_context", "_data_key", "_encrypt", "_leading", "_suffixes", "header",
    )  # fmt: skip

    def __init__(self, wrapping_key: WrappingKey, context: bytes, values: int) -> None:
        self._context = context
        self.use(wrapping_key)
        self._data_key = bytearray(layout.DATA_KEY_BYTES)
        self._suffixes = _Suffixes()
        self.announce(values)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        _cover_traces()

    def under(self, wrapping_key: WrappingKey) -> Self:
        """Return one that wraps under another key, for values of those that were announced.

        Both draw the same nonces, one after the other, and end together.
        """
        other = object.__new__(type(self))
        other._context, other._data_key = self._context, self._data_key
        other._suffixes = self._suffixes
        other.use(wrapping_key)
        return other

    def use(self, wrapping_key: WrappingKey) -> None:
        """Wrap under another key from here on, or under another prefix."""
        self.header, prefix, aead = wrapping_key
        self._leading = self.header + prefix
        self._additional_data = self.header + self._context
        self._encrypt = aead.encrypt

    def announce(self, values: int) -> None:
        """Announce how many envelopes come next, for this one and those that `under` returned."""
        self._suffixes.refill(values)

    def rewrap(
        self,
        unwrapping_key: AESGCM,
        envelope: bytes,
        context: bytes,
        own_context: bytes | None = None,
    ) -> bytes:
        """Return the 81 bytes that go in front of an envelope's payload.

        Args:
            unwrapping_key: the key derived for the version and prefix that the envelope names.
            envelope: its first 81 bytes; more are not looked at.
            context: what its data key is bound to.
            own_context: what it will be bound to, where that is not what all of them will be.

        Raises:
            UnwrapFailed: the data key does not open.
            StopIteration: there were as many values as were announced.
        """
        data_key = self._data_key
        try:
            unwrapping_key.decrypt_into(
                envelope[_NONCE_SUFFIX],
                envelope[_WRAPPED_DATA_KEY],
                envelope[_HEADER] + context,
                data_key,
            )
            suffix: bytes = self._suffixes.draw()
            bound_to = self._additional_data
            if own_context is not None:
                bound_to = self.header + own_context
            wrapped = self._encrypt(suffix, data_key, bound_to)
            return self._leading + suffix + wrapped
        except InvalidTag:
            raise UnwrapFailed(_UNWRAP_FAILED) from None
        finally:
            data_key[:] = _DATA_KEY_ZEROS


def _cover_traces() -> None:
    """Have zeros encrypted, and drop them.

    Where the processor has AVX-512, OpenSSL leaves on the stack what it encrypted last. The data
    key of a value is overwritten there by the payload, where there is one.
    """
    AESGCM(_DATA_KEY_ZEROS).encrypt(PAYLOAD_NONCE, _DATA_KEY_ZEROS, layout.FORMAT_VERSION)
