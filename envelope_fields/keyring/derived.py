"""Keys derived from master keys, for one nonce prefix each: they never leave the keyring.

A caller who wants one is authorized first: the policy is asked for each value, and each use is
counted. Derived keys serve all callers; decisions are made for one principal, action and field.
"""

import os
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from envelope_fields.conf import configuration
from envelope_fields.crypto import format as layout
from envelope_fields.crypto.envelope import WrappingKey
from envelope_fields.exceptions import MalformedEnvelope, MasterKeyUnusable
from envelope_fields.keyring import materials, rows
from envelope_fields.keyring.age import uptime
from envelope_fields.keyring.cache import current_table, known, uncommitted
from envelope_fields.keyring.table import Serving, Table
from envelope_fields.keyring.uses import (
    MOVE_VALUE,
    READ_FIELD,
    WRITE_FIELD,
    Purpose,
    counted,
    here,
    refused,
)
from envelope_fields.policy import KeyVersionState, authorization
from envelope_fields.policy.attempts import Attempt
from envelope_fields.policy.authorization import check_serves_fields, check_state
from envelope_fields.policy.data import PolicyData
from envelope_fields.policy.principals import bound_actor
from envelope_fields.policy.requests import in_flight


def unwrapping_key(derivation: bytes, field_path: str = "") -> AESGCM:
    """Return the key that opens the data key of a field's value.

    Args:
        derivation: the first 21 bytes of the envelope: header and nonce prefix.
        field_path: `app.model.field`.

    Raises:
        MalformedEnvelope: they do not begin an envelope.
        MasterKeyNotFound: no key version has the id they name.
        MasterKeyUnusable: its state forbids it, or could not be read.
        KeyAccessDenied: the principal may not, or none is bound and one must be.
        ImproperlyConfigured: its root key is not in the settings, or not a key.
        RootKeyRefused, RootKeyUnavailable: as the root key says.
    """
    return known_key(derivation, field_path) or unwrapping_key_for(
        READ_FIELD, derivation, field_path
    )


def known_key(derivation: bytes, field_path: str) -> AESGCM | None:
    """Return the key that opens a data key, if it is known that the caller may have it opened."""
    table, now = known.table, uptime()
    if uncommitted or now >= table.deadline:
        return None
    opening = table.unwrapping.get(derivation)
    if opening is None:
        return None
    key, uses, everybody, unbound, version = opening
    if (unbound and not in_flight) if bound_actor() is None else everybody:
        uses.at = now
        next(uses.count)
        return key
    return key if is_admitted(table, version, field_path, READ_FIELD) else None


def unwrapping_key_for(purpose: Purpose, derivation: Any, field_path: str) -> AESGCM:
    """Return the key that opens a data key; errors as above."""
    here.came = True
    if not isinstance(derivation, bytes) or not derivation.startswith(layout.FORMAT_VERSION):
        raise MalformedEnvelope("not an envelope: it does not begin with a known format version")
    if purpose.channel == MOVE_VALUE.channel:
        key = known_key_to_move(derivation, field_path, purpose)
        if key is not None:
            return key
    table = current_table()
    policy_data, row = table.policy_data, table.version(derivation[1 : layout.HEADER_BYTES])
    admit(table, policy_data, row.state, field_path, purpose)
    opening = table.unwrapping.get(derivation)
    key = derived(table, row, derivation) if opening is None else opening[0]
    counted(row.state.version_id, purpose).one()
    return key


def known_key_to_move(
    derivation: bytes, field_path: str, purpose: Purpose = MOVE_VALUE
) -> AESGCM | None:
    """Return what `known_key` does, for a job, which opens every value of a column."""
    here.came = True
    table = known.table
    if uncommitted or uptime() >= table.deadline:
        return None
    opening = table.unwrapping.get(derivation)
    if opening is None:
        return None
    key, _, everybody, unbound, version = opening
    if (unbound and not in_flight) if bound_actor() is None else everybody:
        counted(version.version_id, purpose).one()
        return key
    return key if is_admitted(table, version, field_path, purpose) else None


def derived(table: Table, row: rows.KeyRow, derivation: bytes) -> AESGCM:
    """Derive the key of a nonce prefix, and keep it for those who read more of its values."""
    key = materials.derived(row, derivation[layout.HEADER_BYTES :])
    if materials.lasts(row, until=table.deadline):
        table.keep_unwrapping_key(derivation, (key, *serving(table, row, READ_FIELD)))
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
    here.came = True
    table, now = known.table, uptime()
    if not uncommitted and now < table.deadline:
        budgeted = table.wrapping_key(key, field_path)
        if budgeted is not None:
            found, uses, everybody, unbound, version, _ = budgeted
            if (unbound and not in_flight) if bound_actor() is None else everybody:
                uses.at = now
                next(uses.count)
                return found
            if is_admitted(table, version, field_path, WRITE_FIELD):
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
    here.came = True
    if uptime() >= known.table.deadline:  # something is read before the value is written
        rows.lock_for_writing(using)
    table = current_table()
    policy_data = table.policy_data
    # What `kms` wraps goes to places that are not known here: each has a prefix of its own.
    budgeted = table.wrapping_key(key, field_path) if purpose is WRITE_FIELD else None
    if budgeted is None:
        rows.lock_for_writing(using)
    row = table.current_version(key)
    admit(table, policy_data, row.state, field_path, purpose)
    if purpose is WRITE_FIELD:
        check_serves_fields(table.policy(row.state.key_id), row.state.alias, managed_by)
    wrapping_key = budgeted[0] if budgeted else _new_wrapping_key(row, using)
    is_kept = purpose is WRITE_FIELD and budgeted is None
    if is_kept and materials.lasts(row, until=table.deadline):
        table.keep_wrapping_key(key, field_path, wrapping_key, serving(table, row, WRITE_FIELD))
    counted(row.state.version_id, purpose).one()
    return wrapping_key


def _new_wrapping_key(row: rows.KeyRow, using: str | None) -> WrappingKey:
    rows.refuse_uncommitted(row.state, using)
    prefix = os.urandom(layout.NONCE_PREFIX_BYTES)
    return WrappingKey(layout.header(row.state.version_id), prefix, materials.derived(row, prefix))


def is_admitted(table: Table, version: KeyVersionState, field_path: str, purpose: Purpose) -> bool:
    """Whether it is known already that this actor may come through, and is counted."""
    actor = authorization.known_actor()
    if (actor, purpose, version.version_id, field_path) not in table.policy_data.admitted:
        return False
    counted(version.version_id, purpose).one()
    return True


def admit(
    table: Table,
    policy_data: PolicyData,
    version: KeyVersionState,
    field_path: str,
    purpose: Purpose,
) -> None:
    """Ask the policy, then whether the state allows it: who may not is not told the state.

    Args:
        table: what is known of keys.
        policy_data: what is known of users, as the table had it before anything was read.
        version: the key version.
        field_path: `app.model.field`, for the value of a field.
        purpose: what the key is needed for.

    Raises:
        KeyAccessDenied: the principal may not, or the code is unbound where it must not be.
        MasterKeyUnusable: the state forbids it, or something could not be read.
    """
    policy = table.policy(version.key_id)
    attempt = Attempt(purpose.action, version.key_id, version.alias, field_path)
    lasts = authorization.admit(attempt, policy, policy_data, configuration().database)
    try:
        check_state(purpose.action, version)
    except MasterKeyUnusable:
        refused(version.version_id, purpose)
        raise
    if lasts:
        policy_data.admitted.add(
            (authorization.known_actor(), purpose, version.version_id, field_path)
        )


def serving(table: Table, row: rows.KeyRow, purpose: Purpose) -> Serving:
    """Return what a table keeps with a derived key: whom it serves without being asked."""
    policy = table.policy(row.state.key_id)
    return (
        counted(row.state.version_id, purpose),
        authorization.serves_everybody(policy),
        authorization.serves_unbound_code(policy),
        row.state,
    )
