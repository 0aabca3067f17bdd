"""The trail: events are appended under the lock of the one head row.

Acts lock the row of their key first and the head row last, so that two of them never wait for each
other. A transaction that is rolled back takes its events with it, and leaves no gap. An event that
is committed goes to the logger `envelope_fields.audit` and to a signal, with the head of the trail
as it was then. Kept where the database's writers cannot reach, lines of the log prove what the
trail was: `verify_audit_trail --head`.
"""

import logging
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from copy import copy
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError, connections, transaction
from django.db.models import F, QuerySet
from django.db.transaction import TransactionManagementError

from envelope_fields import keyring, models, policy
from envelope_fields.audit.events import Head, events_of, log_fields, message, now
from envelope_fields.conf import configuration
from envelope_fields.databases import database, transactions
from envelope_fields.exceptions import EnvelopeError
from envelope_fields.models import AuditEvent, AuditKey, key_changes
from envelope_fields.models.keys import stored_bytes
from envelope_fields.signals import audit_event

logger = logging.getLogger("envelope_fields.audit")

HEAD = MAC_KEY = 1  # the one row of each

_failure: ContextVar[Exception | None] = ContextVar("envelope_fields.audit.failure", default=None)


class AuditTrailBroken(EnvelopeError):
    """The audit trail cannot be continued: its key or its last event is not what it was."""


def head() -> Head:
    """Return the head of the trail as the database has it."""
    heads = models.AuditHead.objects.using(configuration().database)
    row = heads.filter(pk=HEAD).first() or models.AuditHead()
    return _head_of(row)


def _head_of(row: models.AuditHead) -> Head:
    """Return what the row says; none of it where it holds something else, as on SQLite."""
    return Head(row.last_id if isinstance(row.last_id, int) else 0, stored_bytes(row.mac))


def record(
    action: str,
    *,
    actor: policy.Principal,
    using: str,
    key: models.MasterKey | None = None,
    version: models.MasterKeyVersion | None = None,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> AuditEvent:
    """Append an event to the audit trail, in the transaction of its act.

    Call it last: the head row of the trail is locked until the transaction ends, and acts lock the
    row of their key before.

    Args:
        action: what was done, as KMS names it, in snake case: `rotate`.
        actor: on whose behalf.
        using: the keys' database, with a transaction open.
        key, version: the master key, and its version, where the act was on one.
        before: what it was; text, whole numbers, booleans, None, lists and dictionaries of these.
        after: what it is now.

    Raises:
        TypeError: `before` or `after` holds something else.
        TransactionManagementError, AuditTrailBroken, ImproperlyConfigured, RootKeyRefused,
        RootKeyUnavailable: as `append_all` does.
    """
    if key is None and version is not None:
        key = version.master_key
    about = [(key, after or {})]
    [event] = record_each(action, about, actor=actor, using=using, version=version, before=before)
    return event


def record_each(
    action: str,
    keys: Iterable[tuple[models.MasterKey | None, Mapping[str, Any]]],
    *,
    actor: policy.Principal,
    using: str,
    version: models.MasterKeyVersion | None = None,
    before: Mapping[str, Any] | None = None,
) -> list[AuditEvent]:
    """Append an event, as `record` does, for each key that one act is on, each with its `after`."""
    events = events_of(
        action,
        [(key.pk if key else None, key.alias if key else None, after) for key, after in keys],
        outcome=models.AuditOutcome.DONE,
        at=now(),
        actor=actor,
        origin=policy.origin(),
        version_number=version.number if version else None,
        before=before,
    )
    append_all(events, using)
    return events


def append_all(events: Sequence[AuditEvent], using: str) -> None:
    """Number events, chain each to the one before, and insert them in the caller's transaction.

    Raises:
        TransactionManagementError: there is no transaction to do it in.
        AuditTrailBroken: head and events do not fit together.
        ImproperlyConfigured, RootKeyRefused, RootKeyUnavailable: no MAC can be made.
    """
    if not connections[using].in_atomic_block:
        raise TransactionManagementError(
            "An audit event is recorded in the transaction of its act: use transaction.atomic()."
        )
    row = _locked_head(using)
    last, mac = _head_of(row)
    key = _locked_key(using, trail_is_empty=row.last_id is None)
    for number, event in enumerate(events, last + 1):
        _take_as_stored(event, using)
        event.number = number
        event.previous_id = number - 1 or None
        event.mac_version = bytes(key.version_id)
        event.mac = keyring.mac(key, message(event, mac))
        row.last_id, row.mac = number, (mac := event.mac)
    try:
        # Not by the manager, which refuses what would not be chained.
        QuerySet[AuditEvent](AuditEvent, using=using).bulk_create(events)
    except IntegrityError as error:
        raise AuditTrailBroken(
            f"The audit trail in the database {using!r} has an event after number {last}, "
            "which its head says is the last, or lacks that one. The trail was changed: run "
            "`python manage.py verify_audit_trail`, and restore the tables from a backup."
        ) from error
    models.AuditHead.objects.using(using).filter(pk=HEAD).update(last=row.last_id, mac=row.mac)
    for event in events:
        transaction.on_commit(_notification(event), using=using, robust=True)


def _take_as_stored(event: AuditEvent, using: str) -> None:
    """Give an event the texts that come back from its columns, which may lack characters."""
    for name in ("actor_type", "actor_id", "actor_name", "request_id"):
        text = getattr(event, name)
        if type(text) is not str or not text.isascii():  # each column stores the others as they are
            setattr(event, name, database(using).as_stored(text, event._meta.db_table, name))


def hold(using: str) -> None:
    """Wait now, and not when an event is appended, for others who append one."""
    _locked_head(using)


def is_held(using: str) -> bool:
    """Whether this thread's transaction has appended an event, so that others wait for its end."""
    hooks: list[Any] = connections[using].run_on_commit
    return any(getattr(hook, "appended", False) for _, hook, *_ in hooks)


def _locked_head(using: str) -> models.AuditHead:
    heads = models.AuditHead.objects.using(using)
    if not connections[using].features.has_select_for_update:
        # SQLite: a first write takes its one lock, before anything is read.
        heads.filter(pk=HEAD).update(mac=F("mac"))
    row = heads.select_for_update().filter(pk=HEAD).first()
    if row is None:
        heads.bulk_create([models.AuditHead(pk=HEAD)], ignore_conflicts=True)
        row = heads.select_for_update().get(pk=HEAD)
    return row


def _notification(event: AuditEvent) -> Callable[[], None]:
    """Return what notifies of an event: a function, since Django names a hook that fails."""

    def notification() -> None:
        notify(event)

    vars(notification)["appended"] = True
    return notification


def notify(event: AuditEvent) -> None:
    """Log an event, and send the signal."""
    level = logging.INFO if event.outcome == models.AuditOutcome.DONE else logging.WARNING
    if logger.isEnabledFor(level):  # an act on a thousand keys has as many events
        fields = {**log_fields(event), "audit_head": str(Head.of(event))}
        logger.log(
            level,
            "audit event %d: %s %s, key %r, by %s %r; head %s",
            event.number, event.action, event.outcome, event.key_alias or fields["audit_key_id"],
            event.actor_type, event.actor_name or event.actor_id, fields["audit_head"],
            extra=fields,
        )  # fmt: skip
    audit_event.send_robust(sender=AuditEvent, event=event)


# -- The key of its MACs ---------------------------------------------------------------------------
#
# A row of its own, made at the first event. It is wrapped by the root key as a version of a master
# key is, bound to `keyring.rows.of_audit_key(row).context`, and `rewrap_master_keys` moves it, too.
# Its material does not change, so the trail goes on.


@contextmanager
def prepared(using: str) -> Iterator[None]:
    """Have the key here before a transaction in which events are added.

    So no root key is asked while the transaction holds locks. Where the root key fails, the first
    event inside raises its error: an operation that adds none does without.
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


@contextmanager
def act(using: str, *, durable: bool = False) -> Iterator[None]:
    """Open a transaction for an act and its events, each of which waits for the one before.

    Args:
        using: the keys' database.
        durable: as for `transaction.atomic`.
    """
    with prepared(using), transaction.atomic(using=using, durable=durable):
        if connections[using].features.has_select_for_update:  # on SQLite none waits inside of it
            transactions.see_the_present(using)
        yield


def _prepare(using: str) -> None:
    # Others wait for what this transaction has appended, for which the key was here.
    if is_held(using) or keyring.macs.has_audit_key(using):
        return
    key = _keys(using).first()
    if key is None and not AuditEvent.objects.using(using).exists():
        key = _committed_key(using)
    if key is not None:
        keyring.macs.open_audit_key(key, using)


def _keys(using: str) -> QuerySet[AuditKey]:
    return AuditKey.objects.using(using).filter(number=MAC_KEY)


def _committed_key(using: str) -> AuditKey | None:
    """Make the key in a transaction of its own; None inside of another, whose events make it."""
    connection = connections[using]
    if connection.in_atomic_block or not transactions.autocommits(connection):
        return None
    made = keyring.generate_audit_key(uuid.uuid4(), MAC_KEY)
    with suppress(IntegrityError), transaction.atomic(using=using):
        return _stored_key(made, using)
    return _keys(using).first()  # another was faster


def _locked_key(using: str, *, trail_is_empty: bool) -> AuditKey:
    """Return the row of the key; the head row is locked, so that no other one is made meanwhile."""
    failure = _failure.get()
    if failure is not None:
        raise copy(failure)
    # Locked: a transaction that sees a snapshot would not find what another one has made.
    key = _keys(using).select_for_update().first()
    if key is not None:
        return key
    if not trail_is_empty:
        raise AuditTrailBroken(
            f"The key of the audit trail is missing in the database {using!r}, so no event can be "
            "added, and nothing that needs one can be done. Restore the table of audit keys from a "
            "backup of the keys."
        )
    key = _stored_key(keyring.generate_audit_key(uuid.uuid4(), MAC_KEY), using)
    # Until this is committed, no cache keeps its material.
    key_changes.announce(using, [key.version_id])
    return key


def _stored_key(made: keyring.Generated, using: str) -> AuditKey:
    key = AuditKey(id=made.key_id, **made.columns)
    key.save(using=using, force_insert=True)
    models.FurtherWrap.objects.using(using).bulk_create(made.further_wraps())
    return key
