"""Events: what is recorded of an act, in values that every database gives back as they were.

A user name that is too long, or has characters that a database refuses, must not keep an act from
being recorded, and so from being done. What was cut ends in an ellipsis.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django.utils import timezone

from envelope_fields import policy
from envelope_fields.audit import trail
from envelope_fields.models import AuditEvent, AuditOutcome, MasterKey, MasterKeyVersion
from envelope_fields.policy import Principal

ELLIPSIS = "…"
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
LONGEST_TEXT = 2000  # within `before` and `after`
LONGEST_INTEGER = 2**63 - 1
_REFUSED = re.compile("[\0\ud800-\udfff]")  # NUL by PostgreSQL, lone surrogates by UTF-8


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
    """Append an event to the audit trail, in the transaction of its act.

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
        action=column_text("action", action),
        outcome=outcome,
        actor_type=column_text("actor_type", actor.type),
        actor_id=column_text("actor_id", actor.id),
        actor_name=column_text("actor_name", actor.name),
        key_id=key_id,
        key_alias=column_text("key_alias", key_alias or ""),
        version_number=version_number,
        before=json_values(before),
        after=json_values(after),
        address=column_text("address", origin.address),
        request_id=column_text("request_id", origin.request_id),
    )


def now() -> datetime:
    """Return the time in milliseconds: JSON fixtures drop what is smaller, and a MAC sees it."""
    moment = timezone.now()
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def column_text(name: str, text: object) -> str:
    """Return text that fits into a column of the event."""
    field: Any = AuditEvent._meta.get_field(name)
    return clean(str(text), field.max_length)


def clean(text: str, longest: int = LONGEST_TEXT) -> str:
    """Return text without NUL and lone surrogates, cut to a number of characters."""
    text = _REFUSED.sub(REPLACEMENT, text)
    return text if len(text) <= longest else text[: longest - 1] + ELLIPSIS


def json_values(given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what `before` and `after` may hold: text, whole numbers, booleans, None, and
    lists and dictionaries of these.

    Raises:
        TypeError: something else, which databases would give back changed.
    """
    return {clean(str(name)): _value(value) for name, value in (given or {}).items()}


def _value(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return clean(str(value))
    if isinstance(value, int) and abs(value) <= LONGEST_INTEGER:
        return int(value)
    if isinstance(value, Mapping):
        return json_values(value)
    if isinstance(value, list | tuple):
        return [_value(item) for item in value]
    raise TypeError(
        f"An audit event holds text, whole numbers of 64 bits, booleans, None, lists and "
        f"dictionaries, not {type(value).__name__}. Make it text."
    )
