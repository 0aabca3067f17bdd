"""MACs under keys of usage `generate_verify_mac`, and under the key of the audit trail."""

from uuid import UUID

from cryptography.hazmat.primitives.constant_time import bytes_eq
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from django.db import connections
from django.db.models import Q

from envelope_fields.conf import configuration
from envelope_fields.crypto.buffers import KeyBuffer
from envelope_fields.keyring import materials, rows
from envelope_fields.keyring.cache import current_table
from envelope_fields.keyring.uses import Purpose, admit, counted, this_thread
from envelope_fields.keyring.values import Record
from envelope_fields.models import AuditKey, KeyState, KeyUsage


def mac(key: AuditKey | UUID | str | bytes, message: bytes) -> bytes:
    """Return HMAC-SHA-256 of a message (KMS: GenerateMac).

    The policy is not asked: the caller has done so, or acts for the application.

    Args:
        key: the key of the audit trail; a master key by its alias or id, whose current version it
            is then; or the 8 bytes that name one of its versions.
        message: the bytes.

    Raises:
        MasterKeyNotFound: there is no such key or version.
        MasterKeyUnusable: its usage is another one, its state forbids it, or the database could not
            be read.
        ImproperlyConfigured: the root key of the key is not in the settings, or not a key.
        RootKeyRefused, RootKeyUnavailable: as the root key says.
    """
    row = _row(key)
    # Others wait for the transaction of an event: its key was asked for before.
    is_of_event = (
        isinstance(key, AuditKey) and connections[configuration().database].in_atomic_block
    )
    return materials.used(row, lambda material: _hmac(material, message), may_renew=not is_of_event)


def generate_mac(purpose: Purpose, key: UUID | str, message: bytes, record: Record) -> bytes:
    """Return HMAC-SHA-256 of a message under the current version of a key, for other code.

    Args:
        purpose: what it is made for.
        key: the master key's alias, or its id.
        message: what `kms_mac_message` returns.
        record: called before it is made.

    Errors are those of `mac`, and `KeyAccessDenied`.
    """
    row = rows.current_version(key, usage=KeyUsage.GENERATE_VERIFY_MAC)
    _admit(row, purpose)
    rows.refuse_uncommitted(row.state, None)
    record(row.state.version_id, purpose)
    return materials.used(row, lambda material: _hmac(material, message))


def verify_mac(
    purpose: Purpose, key: UUID | str, message: bytes, given: bytes, record: Record
) -> bool:
    """Whether bytes are the MAC of a message under an enabled version of a key.

    A MAC does not name its version: the current one is asked first, then those before it.
    Arguments and errors are those of `generate_mac`.
    """
    current = rows.current_version(key, usage=KeyUsage.GENERATE_VERIFY_MAC)
    _admit(current, purpose)
    versions = rows.matching(Q(master_key_id=current.state.key_id, state=KeyState.ENABLED))
    for row in reversed(versions):
        if row.state.number > current.state.number:
            continue  # no process has opened it yet
        record(row.state.version_id, purpose)
        made = materials.used(row, lambda material: _hmac(material, message))
        if bytes_eq(made, given):
            return True
    return False


def _admit(row: rows.KeyRow, purpose: Purpose) -> None:
    this_thread.has_used_key = True
    admit(current_table().policy_data, row, "", purpose)
    counted(row.state.version_id, purpose).one()


def _hmac(material: KeyBuffer, message: bytes) -> bytes:
    hmac = HMAC(material, SHA256())
    hmac.update(message)
    return hmac.finalize()


_of_trails: dict[str, rows.KeyRow] = {}  # what was opened, by the database of the trail


def open_audit_key(key: AuditKey, using: str) -> None:
    """Have the key of the trail in a database here before a transaction that adds events to it.

    Raises:
        ImproperlyConfigured, RootKeyRefused, RootKeyUnavailable: as `mac` does.
    """
    row = rows.of_audit_key(key)
    materials.opened(row)
    _of_trails[using] = row


def has_audit_key(using: str) -> bool:
    """Whether the key of the audit trail is here, so that no transaction asks a root key for it.

    At its greatest age, it is asked for anew, which may raise as `mac` does.
    """
    row = _of_trails.get(using)
    if row is None or not materials.is_cached(row):
        return False
    materials.opened(row)
    return True


def _row(key: AuditKey | UUID | str | bytes) -> rows.KeyRow:
    if isinstance(key, AuditKey):
        return rows.of_audit_key(key)
    usage = KeyUsage.GENERATE_VERIFY_MAC
    if isinstance(key, bytes):
        row = rows.with_version_id(key, usage=usage)
    else:
        row = rows.current_version(key, usage=usage)
    row.state.check("generate_mac")
    return row
