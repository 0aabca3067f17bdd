"""Values in and out of envelopes: what they are encrypted and decrypted with stays in here."""

from collections.abc import Callable, Sequence
from typing import TypeVar
from uuid import UUID

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from envelope_fields.crypto import format as layout
from envelope_fields.crypto.buffers import Buffer
from envelope_fields.crypto.envelope import (
    UnwrapFailed,
    decrypt as decrypt_envelope,
    encrypt as encrypt_envelope,
)
from envelope_fields.keyring import derived
from envelope_fields.keyring.cache import current_table
from envelope_fields.keyring.uses import MOVE_VALUE, VERIFY_VALUE, Purpose
from envelope_fields.policy import KeyVersionState

Record = Callable[[bytes, Purpose], None]  # given the version id, and what it is used for
_Prepared = TypeVar("_Prepared")

_DERIVATION = slice(layout.DERIVATION_BYTES)


def decrypt(envelope: bytes, contexts: Sequence[bytes], field_path: str) -> bytes:
    """Return the plaintext of a field's value.

    Args:
        envelope: the value as it is stored.
        contexts: what it may be bound to; they are tried in this order.
        field_path: `app.model.field`.

    Raises:
        MalformedEnvelope: it does not begin like an envelope.
        DecryptionFailed: it does not open.
        MasterKeyNotFound: no key version has the id that it names.
        MasterKeyUnusable: its state forbids it, or could not be read.
        KeyAccessDenied: the principal may not, or the code is unbound where it must not be.
        ImproperlyConfigured: its root key is not in the settings, or not a key.
        RootKeyRefused, RootKeyUnavailable: as the root key says.
    """
    return decrypted(derived.unwrapping_key(envelope[_DERIVATION], field_path), envelope, contexts)


def decrypt_for(
    purpose: Purpose,
    envelope: bytes,
    contexts: Sequence[bytes],
    field_path: str = "",
    record: Record | None = None,
) -> bytes:
    """Return the plaintext of an envelope, for any purpose; errors as `decrypt` raises them.

    Args:
        purpose: what it is opened for.
        envelope, contexts, field_path: as for `decrypt`.
        record: called before it is opened.
    """
    key = derived.unwrapping_key_for(purpose, envelope[_DERIVATION], field_path)
    if record is not None:
        record(envelope[1 : layout.HEADER_BYTES], purpose)
    return decrypted(key, envelope, contexts)


def decrypt_to_verify(envelope: bytes, contexts: Sequence[bytes], field_path: str) -> bytes:
    """Return what `decrypt` does, for a look that is no use of the value."""
    return decrypt_for(VERIFY_VALUE, envelope, contexts, field_path)


def decrypt_to_move(envelope: bytes, contexts: Sequence[bytes], field_path: str) -> bytes:
    """Return what `decrypt` does, for a job that writes what follows from the value.

    It takes the right to re-encrypt, and is no use of the value.
    """
    derivation = envelope[_DERIVATION]
    key = derived.known_key_to_move(derivation, field_path) or derived.unwrapping_key_for(
        MOVE_VALUE, derivation, field_path
    )
    return decrypted(key, envelope, contexts)


def decrypted(key: AESGCM, envelope: bytes, contexts: Sequence[bytes]) -> bytes:
    """Return the plaintext of an envelope whose data key one of the contexts is bound to.

    Raises:
        UnwrapFailed: it is bound to none of them.
        DecryptionFailed: the data key opens, the payload does not.
    """
    try:
        return decrypt_envelope(key, envelope, contexts[0])
    except UnwrapFailed as failure:
        for context in contexts[1:]:
            try:
                return decrypt_envelope(key, envelope, context)
            except UnwrapFailed:
                continue
        raise failure from None


def encrypt(
    key: str | UUID,
    plaintext_of: Callable[[_Prepared], bytes],
    prepared: _Prepared,
    context: bytes,
    using: str | None,
    field_path: str = "",
    managed_by: str | None = None,
) -> bytes:
    """Return the envelope of a field's value, under the current version of a master key.

    Args:
        key: the master key's alias, or its id.
        plaintext_of: what makes the plaintext. It is called when the key is known, so that no
            traceback of ours has the plaintext in it.
        prepared: what that is called with.
        context: what the data key is bound to.
        using, field_path, managed_by: as for `derived.wrapping_key`.

    Raises:
        MasterKeyNotFound, MasterKeyUnusable, KeyAccessDenied, ImproperlyConfigured,
        RootKeyRefused, RootKeyUnavailable: the key cannot be used.
    """
    found = derived.wrapping_key(key, using, field_path, managed_by)
    return encrypt_envelope(found, plaintext_of(prepared), context)


def encrypt_for(
    purpose: Purpose,
    key: str | UUID,
    plaintext: bytes | Buffer,
    context: bytes,
    record: Record,
) -> bytes:
    """Return an envelope for other code than fields; errors as `encrypt` raises them.

    Args:
        purpose: what it is made for.
        key: the master key's alias, or its id.
        plaintext: what is encrypted.
        context: what the data key is bound to.
        record: called before it is made.
    """
    try:
        found = derived.wrapping_key_for(purpose, key, None)
        record(found.header[1:], purpose)
        return encrypt_envelope(found, plaintext, context)
    except BaseException:
        del plaintext  # error reports show the variables of each frame
        raise


def version_of(version_id: bytes) -> KeyVersionState:
    """Return the key version that an envelope names, without asking for its material.

    Raises:
        MasterKeyNotFound, MasterKeyUnusable: as for `unwrapping_key`.
    """
    return current_table().version(version_id).state
