"""Recording a management act."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django.utils import timezone

from envelope_fields import policy
from envelope_fields.audit import texts, trail
from envelope_fields.models import AuditEvent, AuditOutcome, MasterKey, MasterKeyVersion
from envelope_fields.policy import Principal


def record(
    action: str,
    *,
    actor: Principal,
    using: str,
    key: MasterKey | None = None,
    version: MasterKeyVersion | None = None,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> AuditEvent:
    """Append an event to the audit trail, in the transaction of the act that it tells of.

    Call it last: the head row of the trail is locked until the transaction ends, and acts lock the
    row of their key before.

    Args:
        action: what was done, as KMS names it, in snake case: `rotate`.
        actor: on whose behalf.
        using: the keys' database, with a transaction open.
        key: the master key, where the act was on one.
        version: its version, where the act was on one.
        before: what it was; text, whole numbers, booleans, None, lists and dictionaries of these.
        after: what it is now.

    Raises:
        TransactionManagementError: no transaction is open.
        TypeError: `before` or `after` holds something else.
        AuditTrailBroken: the trail cannot be continued.
        ImproperlyConfigured, RootKeyRefused, RootKeyUnavailable: no MAC can be made.
    """
    if key is None and version is not None:
        key = version.master_key
    event = event_of(
        action,
        outcome=AuditOutcome.DONE,
        at=now(),
        actor=actor,
        origin=policy.origin(),
        key_id=key.pk if key else None,
        key_alias=key.alias if key else None,
        version_number=version.number if version else None,
        before=before,
        after=after,
    )
    trail.append(event, using)
    return event


def event_of(
    action: str,
    *,
    outcome: str,
    at: datetime,
    actor: Principal,
    origin: policy.Origin,
    key_id: UUID | None,
    key_alias: str | None,
    version_number: int | None = None,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> AuditEvent:
    """Return an event whose texts fit their columns, to be appended."""
    return AuditEvent(
        occurred_at=at,
        action=texts.column("action", action),
        outcome=outcome,
        actor_type=texts.column("actor_type", actor.type),
        actor_id=texts.column("actor_id", actor.id),
        actor_name=texts.column("actor_name", actor.name),
        key_id=key_id,
        key_alias=texts.column("key_alias", key_alias or ""),
        version_number=version_number,
        before=texts.values(before),
        after=texts.values(after),
        address=texts.column("address", origin.address),
        request_id=texts.column("request_id", origin.request_id),
    )


def now() -> datetime:
    """Return the time in milliseconds: JSON fixtures drop what is smaller, and a MAC sees it."""
    moment = timezone.now()
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
