"""The key of the trail's MACs: a row of its own, wrapped by the root key, made at the first event.

`rewrap_master_keys` has to move this row as well: an `AuditKey` is wrapped like a version of a
master key, bound to `keyring.rows.of_audit_key(row).context`. Its material does not change, so the
trail goes on; `keyring.materials` keeps what it opened, whichever root key wrapped it.
"""

from __future__ import annotations

import uuid

from envelope_fields import key_changes, keyring
from envelope_fields.audit.errors import AuditTrailBroken
from envelope_fields.models import AuditKey

NUMBER = 1


def current(using: str, *, trail_is_empty: bool) -> AuditKey:
    """Return the row of the key; the head row is locked, so that nobody makes another.

    Args:
        using: the keys' database.
        trail_is_empty: whether there are no events yet, so that the key may be missing.

    Raises:
        AuditTrailBroken: there are events and no key, so that nobody could continue them.
        ImproperlyConfigured, RootKeyRefused, RootKeyUnavailable: the root key did not wrap it.
    """
    # Locked: a transaction that sees a snapshot would not find what another one has made.
    key = AuditKey.objects.using(using).select_for_update().filter(number=NUMBER).first()
    if key is not None:
        return key
    if not trail_is_empty:
        raise AuditTrailBroken(
            f"The key of the audit trail is missing in the database {using!r}, so no event can be "
            "added, and nothing that needs one can be done. Restore the table of audit keys from a "
            "backup of the keys."
        )
    return _made(using)


def _made(using: str) -> AuditKey:
    key_id = uuid.uuid4()
    columns = keyring.generate_audit_key(key_id, NUMBER)
    key = AuditKey(id=key_id, **columns)
    key.save(using=using, force_insert=True)
    # Until this is committed, no cache keeps its material.
    key_changes.announce(using, [columns["version_id"]])
    return key
