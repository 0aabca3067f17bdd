"""The key of the trail's MACs: a row of its own, wrapped by the root key, made at the first event.

`rewrap_master_keys` has to move this row as well: an `AuditKey` is wrapped like a version of a
master key, bound to `keyring.rows.of_audit_key(row).context`. Its material does not change, so the
trail goes on.
"""

from __future__ import annotations

import uuid
from contextlib import suppress

from django.db import IntegrityError, connections, transaction

from envelope_fields import keyring, models
from envelope_fields.databases import transactions
from envelope_fields.exceptions import EnvelopeError
from envelope_fields.models import key_changes

MAC_KEY = 1


class AuditTrailBroken(EnvelopeError):
    """The audit trail cannot be continued: its key or its last event is not what it was."""


def found(using: str) -> models.AuditKey | None:
    """Return the row of the key, or None where no event was recorded yet."""
    return models.AuditKey.objects.using(using).filter(number=MAC_KEY).first()


def committed(using: str) -> models.AuditKey | None:
    """Make the key in a transaction of its own; None inside of another, whose events make it."""
    connection = connections[using]
    if connection.in_atomic_block or not transactions.autocommits(connection):
        return None
    made = keyring.generate_audit_key(uuid.uuid4(), MAC_KEY)
    with suppress(IntegrityError), transaction.atomic(using=using):
        return _stored(made, using)
    return found(using)  # another was faster


def locked(using: str, *, trail_is_empty: bool) -> models.AuditKey:
    """Return the row of the key; the head row is locked, so that no other one is made meanwhile.

    Args:
        using: the keys' database.
        trail_is_empty: whether there are no events yet, so that the key may be missing.

    Raises:
        AuditTrailBroken: there are events and no key, so that they cannot be continued.
        ImproperlyConfigured, RootKeyRefused, RootKeyUnavailable: the root key did not wrap it.
    """
    # Locked: a transaction that sees a snapshot would not find what another one has made.
    key = models.AuditKey.objects.using(using).select_for_update().filter(number=MAC_KEY).first()
    if key is not None:
        return key
    if not trail_is_empty:
        raise AuditTrailBroken(
            f"The key of the audit trail is missing in the database {using!r}, so no event can be "
            "added, and nothing that needs one can be done. Restore the table of audit keys from a "
            "backup of the keys."
        )
    return _new(using)


def _new(using: str) -> models.AuditKey:
    key = _stored(keyring.generate_audit_key(uuid.uuid4(), MAC_KEY), using)
    # Until this is committed, no cache keeps its material.
    key_changes.announce(using, [key.version_id])
    return key


def _stored(made: keyring.Generated, using: str) -> models.AuditKey:
    key = models.AuditKey(id=made.key_id, **made.columns)
    key.save(using=using, force_insert=True)
    models.FurtherWrap.objects.using(using).bulk_create(made.further_wraps())
    return key
