"""Values in and out of envelopes, by keys derived from master keys for one nonce prefix each.

What is derived stays in the keyring. A caller who wants it is authorized first: the policy is asked
for each value, and each use is counted. Derived keys serve all callers; decisions are made for one
principal, action and field.
"""

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from envelope_fields.crypto import envelope as envelopes, format as layout
from envelope_fields.crypto.buffers import Buffer
from envelope_fields.crypto.envelope import UnwrapFailed, WrappingKey
from envelope_fields.exceptions import MalformedEnvelope
from envelope_fields.keyring import materials, rows, table as tables
from envelope_fields.keyring.age import uptime
from envelope_fields.keyring.cache import current_table, known, uncommitted
from envelope_fields.keyring.table import Table
from envelope_fields.keyring.uses import (
    MOVE_VALUE,
    READ_FIELD,
    VERIFY_VALUE,
    WRITE_FIELD,
    Purpose,
    admit,
    counted,
    serving,
    this_thread,
)
from envelope_fields.policy import KeyVersionState
from envelope_fields.policy.principals import bound_actor
from envelope_fields.policy.requests import in_flight

Record = Callable[[bytes, Purpose], None]  # given the version id, and what it is used for
_Prepared = TypeVar("_Prepared")

DERIVATION = slice(layout.DERIVATION_BYTES)  # of an envelope: what picks a derived key


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
    return decrypted(unwrapping_key(envelope[DERIVATION], field_path), envelope, contexts)


def decrypt_for(
    purpose: Purpose,
    envelope: bytes,
    contexts: Sequence[bytes],
    field_path: str = "",
    record: Record | None = None,
) -> bytes:
    """Return the plaintext of an envelope, for any purpose, which is recorded before.

    Other arguments and errors are those of `decrypt`.
    """
    key = unwrapping_key_for(purpose, envelope[DERIVATION], field_path)
    if record is not None:
        record(envelope[1 : layout.HEADER_BYTES], purpose)
    return decrypted(key, envelope, contexts)


# Neither is a use of the value: a look, and that of a job which writes what follows from the value,
# for which it takes the right to re-encrypt.
decrypt_to_verify = partial(decrypt_for, VERIFY_VALUE)
decrypt_to_move = partial(decrypt_for, MOVE_VALUE)


def decrypted(key: AESGCM, envelope: bytes, contexts: Sequence[bytes]) -> bytes:
    """Return the plaintext of an envelope whose data key one of the contexts is bound to.

    Raises:
        UnwrapFailed: it is bound to none of them.
        DecryptionFailed: the data key opens, the payload does not.
    """
    try:
        return envelopes.decrypt(key, envelope, contexts[0])
    except UnwrapFailed as failure:
        for context in contexts[1:]:
            try:
                return envelopes.decrypt(key, envelope, context)
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
        using, field_path, managed_by: as for `wrapping_key`, whose errors it raises.
    """
    found = wrapping_key(key, using, field_path, managed_by)
    return envelopes.encrypt(found, plaintext_of(prepared), context)


def encrypt_for(
    purpose: Purpose,
    key: str | UUID,
    plaintext: bytes | Buffer,
    context: bytes,
    record: Record,
) -> bytes:
    """Return an envelope for other code than fields; errors as `encrypt` raises them.

    Args:
        purpose, key, plaintext, context: what it is made for, under what, and of what.
        record: called before it is made.
    """
    try:
        found = wrapping_key_for(purpose, key, None)
        record(found.header[1:], purpose)
        return envelopes.encrypt(found, plaintext, context)
    except BaseException:
        del plaintext  # error reports show the variables of each frame
        raise


def version_of(version_id: bytes) -> KeyVersionState:
    """Return the key version that an envelope names, without asking for its material."""
    return current_table().version(version_id).state


# -- Derived keys ----------------------------------------------------------------------------------


def unwrapping_key(derivation: bytes, field_path: str = "") -> AESGCM:
    """Return the key that opens the data key of a field's value; errors as for `decrypt`.

    The derivation is the first 21 bytes of its envelope: header and nonce prefix.
    """
    return known_key(derivation, field_path) or unwrapping_key_for(
        READ_FIELD, derivation, field_path
    )


def known_key(derivation: bytes, field_path: str, purpose: Purpose = READ_FIELD) -> AESGCM | None:
    """Return the key that opens a data key, if it is known that the caller may have it opened."""
    table, now = known.table, uptime()
    if uncommitted or now >= table.deadline:
        return None
    opening = table.unwrapping.get(derivation)
    if opening is None:
        return None
    key, uses, everybody, unbound, version = opening
    if (unbound and not in_flight) if bound_actor() is None else everybody:
        if purpose is not READ_FIELD:
            uses = counted(version.version_id, purpose)
        uses.at = now
        next(uses.count)
        return key
    return key if table.has_admitted(version, field_path, purpose) else None


def unwrapping_key_for(purpose: Purpose, derivation: Any, field_path: str) -> AESGCM:
    """Return the key that opens a data key; errors as above."""
    this_thread.has_used_key = True
    if not isinstance(derivation, bytes) or not derivation.startswith(layout.FORMAT_VERSION):
        raise MalformedEnvelope("not an envelope: it does not begin with a known format version")
    if purpose.channel == MOVE_VALUE.channel:  # of a job, which opens every value of a column
        key = known_key(derivation, field_path, purpose)
        if key is not None:
            return key
    table = current_table()
    policy_data, row = table.policy_data, table.version(derivation[1 : layout.HEADER_BYTES])
    admit(policy_data, row, field_path, purpose)
    opening = table.unwrapping.get(derivation)
    key = derived(table, row, derivation) if opening is None else opening[0]
    counted(row.state.version_id, purpose).one()
    return key


def derived(table: Table, row: rows.KeyRow, derivation: bytes) -> AESGCM:
    """Derive the key of a nonce prefix, and keep it for those who read more of its values."""
    key = materials.derived(row, derivation[layout.HEADER_BYTES :])
    if materials.lasts(row, until=table.deadline):
        opening = (key, *serving(row, READ_FIELD))
        table.keep(table.unwrapping, tables.UNWRAPPING_KEYS, derivation, opening)
    return key


def wrapping_key(
    key: str | UUID, using: str | None, field_path: str = "", managed_by: str | None = None
) -> WrappingKey:
    """Return what wraps the data key of a field's value under the current version of a master key.

    Args:
        key: the master key's alias, or its id.
        using: the database that the value goes to; None when it goes to no database of the project.
        field_path: `app.model.field`.
        managed_by: who manages the key, by the declaration of the field; None is anybody.

    Raises:
        MasterKeyNotFound: there is no such master key.
        MasterKeyUnusable: its state forbids it or could not be read; or the version is not
            committed and the value would outlive its rollback; or the key serves no fields, or is
            managed otherwise.
        KeyAccessDenied: the principal may not, or the code is unbound where it must not be.
        ImproperlyConfigured: its root key is not in the settings, or not a key.
        RootKeyRefused, RootKeyUnavailable: as the root key says.
    """
    this_thread.has_used_key = True
    table, now = known.table, uptime()
    if not uncommitted and now < table.deadline:
        budgeted = table.wrapping_key(key, field_path)
        if budgeted is not None:
            found, uses, everybody, unbound, version, _ = budgeted
            if (unbound and not in_flight) if bound_actor() is None else everybody:
                uses.at = now
                next(uses.count)
                return found
            if table.has_admitted(version, field_path, WRITE_FIELD):
                return found
    return wrapping_key_for(WRITE_FIELD, key, using, field_path, managed_by)


def wrapping_key_for(
    purpose: Purpose,
    key: str | UUID,
    using: str | None,
    field_path: str = "",
    managed_by: str | None = None,
) -> WrappingKey:
    """Return what wraps a data key, for any purpose; see `wrapping_key`."""
    this_thread.has_used_key = True
    if uptime() >= known.table.deadline:  # something is read before the value is written
        rows.lock_for_writing(using)
    table = current_table()
    policy_data = table.policy_data
    # What `kms` wraps goes to places that are not known here: each has a prefix of its own.
    budgeted = table.wrapping_key(key, field_path) if purpose is WRITE_FIELD else None
    if budgeted is None:
        rows.lock_for_writing(using)
    row = table.current_version(key)
    admit(policy_data, row, field_path, purpose)
    if purpose is WRITE_FIELD:
        row.policy.check_serves_fields(row.state.alias, managed_by)
    wrapping_key = budgeted[0] if budgeted else _new_wrapping_key(row, using)
    is_kept = purpose is WRITE_FIELD and budgeted is None
    if is_kept and materials.lasts(row, until=table.deadline):
        table.keep_wrapping_key(key, field_path, wrapping_key, serving(row, WRITE_FIELD))
    counted(row.state.version_id, purpose).one()
    return wrapping_key


def _new_wrapping_key(row: rows.KeyRow, using: str | None) -> WrappingKey:
    rows.refuse_uncommitted(row.state, using)
    prefix = os.urandom(layout.NONCE_PREFIX_BYTES)
    return WrappingKey(row.header, prefix, materials.derived(row, prefix))
