"""Values in and out of envelopes: what they are encrypted and decrypted with stays in here."""

from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, TypeVar
from uuid import UUID

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.core.exceptions import ImproperlyConfigured

from envelope_fields.crypto import format as layout
from envelope_fields.crypto.buffers import Buffer
from envelope_fields.crypto.envelope import (
    UnwrapFailed,
    decrypt as decrypt_envelope,
    encrypt as encrypt_envelope,
)
from envelope_fields.exceptions import EnvelopeError
from envelope_fields.keyring import handles, materials
from envelope_fields.keyring.cache import current_table, known, table_to_load_by, uncommitted
from envelope_fields.keyring.derived import (
    derived,
    known_key,
    unwrapping_key,
    unwrapping_key_for,
    wrapping_key,
    wrapping_key_for,
)
from envelope_fields.keyring.handles import Handle
from envelope_fields.keyring.uses import VERIFY_VALUE, Purpose, here
from envelope_fields.models import key_changes
from envelope_fields.policy import KeyVersionState
from envelope_fields.policy.principals import bound_actor

Record = Callable[[bytes, Purpose], None]  # given the version id, and what it is used for
_Prepared = TypeVar("_Prepared")

_DERIVATION = slice(layout.DERIVATION_BYTES)


def load_handle(header: Any, field_path: str) -> Handle | None:
    """Return what a value that is loaded now is opened with later. It raises nothing.

    Args:
        header: the first 9 bytes of the envelope, or whatever is stored in its place.
        field_path: `app.model.field`.

    Returns:
        A handle, which is alive for half of `KEY_CACHE_SECONDS` at least; None where the key is
        not known or may not be used.
    """
    here.came = True
    if type(header) is not bytes or header[:1] != layout.FORMAT_VERSION:
        return None
    if uncommitted and key_changes.uncommitted():
        return None
    found = None
    if not uncommitted and monotonic() < known.table.half_life:
        found = handles.kept(known.table, header[1:], field_path)
    if found is None:
        try:
            found = handles.handle(table_to_load_by(), header[1:], field_path)
        except (EnvelopeError, ImproperlyConfigured):
            return None
    if found is not None and found.admitted is not None and handles.event_loop_waits():
        _open_material(found)
    return found


def _open_material(handle: Handle) -> None:
    """Ask the root key now, since it cannot be asked in the event loop."""
    try:
        materials.opened(handle.row)
    except (EnvelopeError, ImproperlyConfigured):
        return  # it is asked again when a caller looks, and the error is raised there


def decrypt_sealed(
    envelope: bytes, contexts: Sequence[bytes], field_path: str, handle: Handle | None
) -> bytes:
    """Return the plaintext of a value that was loaded before; errors as `decrypt` raises them.

    Args:
        envelope: the value as it was loaded.
        contexts: what it may be bound to.
        field_path: `app.model.field`.
        handle: what `load_handle` returned.

    Raises:
        OpeningNeedsThread: something would have to be asked, and an event loop is running.
    """
    # The path of every value that is read, so it is written flat.
    if handle is not None and not uncommitted:
        now, table = monotonic(), handle.table
        if (
            now < table.deadline
            and handle.facts is table.facts
            and ((handle.admitted is not None) if bound_actor() is None else handle.admits())
        ):
            opening = table.unwrapping.get(envelope[_DERIVATION])
            if opening is not None:
                try:
                    uses = handle.uses
                except AttributeError:
                    uses = handle.begin_uses()
                uses.at = now
                next(uses.count)
                try:
                    return decrypt_envelope(opening[0], envelope, contexts[0])
                except UnwrapFailed:
                    return _decrypted(opening[0], envelope, contexts)
    return _decrypt_slowly(envelope, contexts, field_path, handle)


def _decrypt_slowly(
    envelope: bytes, contexts: Sequence[bytes], field_path: str, handle: Handle | None
) -> bytes:
    """Return what `decrypt_sealed` does, where something may have to be derived or asked."""
    here.came = True
    # Another thread may be changing keys, which is no concern of this one until it commits.
    if handle is not None and handle.opens() and not (uncommitted and key_changes.uncommitted()):
        derivation = envelope[_DERIVATION]
        opening = handle.table.unwrapping.get(derivation)
        if opening is None and not materials.is_cached(handle.row):
            handles.refuse_in_event_loop()
        key = derived(handle.table, handle.row, derivation) if opening is None else opening[0]
        handle.begin_uses().one()
        return _decrypted(key, envelope, contexts)
    key_that_is_known = known_key(envelope[_DERIVATION], field_path)
    if key_that_is_known is not None:
        return _decrypted(key_that_is_known, envelope, contexts)
    handles.refuse_in_event_loop()
    return decrypt(envelope, contexts, field_path)


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
    return _decrypted(unwrapping_key(envelope[_DERIVATION], field_path), envelope, contexts)


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
    key = unwrapping_key_for(purpose, envelope[_DERIVATION], field_path)
    if record is not None:
        record(envelope[1 : layout.HEADER_BYTES], purpose)
    return _decrypted(key, envelope, contexts)


def decrypt_to_verify(envelope: bytes, contexts: Sequence[bytes], field_path: str) -> bytes:
    """Return what `decrypt` does, for a look that is no use of the value."""
    return decrypt_for(VERIFY_VALUE, envelope, contexts, field_path)


def _decrypted(key: AESGCM, envelope: bytes, contexts: Sequence[bytes]) -> bytes:
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
    found = wrapping_key(key, using, field_path, managed_by)
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
        found = wrapping_key_for(purpose, key, None)
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
