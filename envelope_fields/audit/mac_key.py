"""The key of the trail's MACs: a row of its own, wrapped by the root key, made at the first event.

`rewrap_master_keys` has to move this row as well: an `AuditKey` is wrapped like a version of a
master key, bound to `keyring.rows.of_audit_key(row).context`. Its material does not change, so the
trail goes on.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from copy import copy

from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError, connections, transaction

from envelope_fields import keyring
from envelope_fields.databases import transactions
from envelope_fields.exceptions import EnvelopeError
from envelope_fields.models import AuditEvent, AuditKey, key_changes

MAC_KEY = 1


class AuditTrailBroken(EnvelopeError):
    """The audit trail cannot be continued: its key or its last event is not what it was."""


_failure: ContextVar[Exception | None] = ContextVar("envelope_fields.audit.failure", default=None)


@contextmanager
def prepared(using: str) -> Iterator[None]:
    """Have the key here before a transaction in which events are added.

    So no root key is asked while the transaction holds locks. Where the root key fails, the first
    event inside raises its error: an operation that adds none does without.

    Args:
        using: the keys' database.
    """
    failure: Exception | None = None
    try:
        _prepare(using)
    except (EnvelopeError, ImproperlyConfigured) as error:
        failure = error
    token = _failure.set(failure)
    try:
        yield
    finally:
        _failure.reset(token)


def _prepare(using: str) -> None:
    if keyring.has_audit_key(using):
        return
    key = AuditKey.objects.using(using).filter(number=MAC_KEY).first()
    if key is None and not AuditEvent.objects.using(using).exists():
        key = _made_alone(using)
    if key is not None:
        keyring.open_audit_key(key, using)


def _made_alone(using: str) -> AuditKey | None:
    """Make the key in a transaction of its own; None inside of another, whose events make it."""
    connection = connections[using]
    if connection.in_atomic_block or not transactions.autocommits(connection):
        return None
    key = _new()
    with suppress(IntegrityError), transaction.atomic(using=using):
        key.save(using=using, force_insert=True)
        return key
    return AuditKey.objects.using(using).filter(number=MAC_KEY).first()  # another was faster


def current(using: str, *, trail_is_empty: bool) -> AuditKey:
    """Return the row of the key; the head row is locked, so that no other one is made meanwhile.

    Args:
        using: the keys' database.
        trail_is_empty: whether there are no events yet, so that the key may be missing.

    Raises:
        AuditTrailBroken: there are events and no key, so that they cannot be continued.
        ImproperlyConfigured, RootKeyRefused, RootKeyUnavailable: the root key did not wrap it, or
            did not open it before this transaction.
    """
    failure = _failure.get()
    if failure is not None:
        raise copy(failure)
    # Locked: a transaction that sees a snapshot would not find what another one has made.
    key = AuditKey.objects.using(using).select_for_update().filter(number=MAC_KEY).first()
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
    key = _new()
    key.save(using=using, force_insert=True)
    # Until this is committed, no cache keeps its material.
    key_changes.announce(using, [key.version_id])
    return key


def _new() -> AuditKey:
    key_id = uuid.uuid4()
    return AuditKey(id=key_id, **keyring.generate_audit_key(key_id, MAC_KEY))
