"""Events: what is recorded of an act, the bytes that its MAC is made over, and how it is shown.

A user name that is too long, or has characters that a database refuses, must not keep an act from
being recorded, and so from being done. What was cut ends in an ellipsis.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connections
from django.utils import timezone

from envelope_fields import policy
from envelope_fields.conf import configuration
from envelope_fields.crypto.context import encode
from envelope_fields.models import AuditEvent
from envelope_fields.models.audit import MAC_BYTES, NO_MAC

ELLIPSIS = "…"
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
LONGEST_TEXT = 2000  # within `before` and `after`
LONGEST_INTEGER = 2**63 - 1
_REFUSED = re.compile("[\0\ud800-\udfff]")  # NUL by PostgreSQL, lone surrogates by UTF-8
_HEAD = re.compile(  # in docs/spec
    rf"0:0{{{2 * MAC_BYTES}}}|[1-9][0-9]{{0,18}}:[0-9a-f]{{{2 * MAC_BYTES}}}"
)
# By these an event is chained; the head has them for all before it.
_OF_CHAIN = ("previous_id", "mac_version", "mac")
DOMAIN = b"audit-event-v1"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


# The id and alias of a key, where an act was on one, and what it is now.
About = tuple[UUID | None, str | None, Mapping[str, Any] | None]


def events_of(
    action: str,
    about: Iterable[About],
    *,
    outcome: str,
    at: datetime,
    actor: policy.Principal,
    origin: policy.Origin,
    version_number: int | None = None,
    before: Mapping[str, Any] | None = None,
) -> list[AuditEvent]:
    """Return the events of one act, whose texts fit their columns, to be appended.

    What is the same for all is made once, since an act may be on a thousand keys.
    """
    shared = {
        "occurred_at": at,
        "action": column_text("action", action),
        "outcome": outcome,
        "actor_type": column_text("actor_type", actor.type),
        "actor_id": column_text("actor_id", actor.id),
        "actor_name": column_text("actor_name", actor.name),
        "version_number": version_number,
        "address": column_text("address", origin.address),
        "request_id": column_text("request_id", origin.request_id),
    }
    events, given = list[AuditEvent](), None
    values_before, values = json_values(before), json_values(given)
    for key_id, key_alias, after in about:
        if after is not given:
            given, values = after, json_values(after)
        alias = column_text("key_alias", key_alias or "")
        event = AuditEvent(**shared, key_id=key_id, key_alias=alias)
        event.before, event.after = dict(values_before), dict(values)
        events.append(event)
    return events


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


# -- The bytes of the MAC (`docs/spec/audit-trail-v1.md`) ----------------------------------------


def message(event: AuditEvent, predecessor: bytes) -> bytes:
    """Return what the MAC of an event is made over.

    The predecessor is the MAC of the event before, or 32 zero bytes.
    """
    return encode(
        [
            DOMAIN,
            predecessor,
            _integer(event.number),
            _integer(_microseconds(event.occurred_at)),
            event.action.encode(),
            event.outcome.encode(),
            event.actor_type.encode(),
            event.actor_id.encode(),
            event.actor_name.encode(),
            b"" if event.key_id is None else event.key_id.bytes,
            event.key_alias.encode(),
            b"" if event.version_number is None else _integer(event.version_number),
            _json(event.before),
            _json(event.after),
            event.address.encode(),
            event.request_id.encode(),
            bytes(event.mac_version),
        ]
    )


# Databases order keys and space them as they like.
_encoded = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode


def _json(value: Any) -> bytes:
    return _encoded(value).encode()


def _microseconds(moment: datetime) -> int:
    # Naive where the project has USE_TZ = False.
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=_zone_of_naive_times(), fold=1)
    return (moment - _EPOCH) // _MICROSECOND


def _zone_of_naive_times() -> tzinfo:
    """Return the zone in which the database takes times without one, and UTC where it has none.

    PostgreSQL stores the moment, and takes a time that there is twice for the later one, as `fold`
    does: the MAC is over what is stored, whatever USE_TZ and TIME_ZONE are when it is verified.
    """
    stores_zones = connections[configuration().database].features.supports_timezones
    return timezone.get_default_timezone() if stores_zones else UTC


def _integer(value: int) -> bytes:
    return value.to_bytes(8, "little", signed=True)  # a moment may be before 1970


# -- The trail up to an event, and how events are shown -------------------------------------------


class Head(NamedTuple):
    """The last event of a trail, or zeros: kept elsewhere, it shows when a tail is cut off."""

    number: int
    mac: bytes

    def __str__(self) -> str:
        return f"{self.number}:{self.mac.hex()}"

    @classmethod
    def of(cls, event: AuditEvent) -> Head:
        """Return the head of a trail that ends with an event."""
        return cls(event.number, bytes(event.mac))

    @classmethod
    def parse(cls, text: str) -> Head:
        """Return the head that `str` has made text of.

        Raises:
            ValueError: it is not one.
        """
        number, _, mac = text.strip().partition(":")
        if not _HEAD.fullmatch(text.strip()):
            raise ValueError(
                f"{text!r} is not the head of an audit trail: NUMBER:MAC, in hexadecimal"
            )
        return cls(int(number), bytes.fromhex(mac))


EMPTY = Head(0, NO_MAC)


def event_content(event: AuditEvent) -> dict[str, Any]:
    """Return an event as plain data; `head` is what `verify_audit_trail --head` takes."""
    return {
        "number": event.number,
        "occurred_at": event.occurred_at,
        "action": event.action,
        "outcome": str(event.outcome),
        "actor_type": event.actor_type,
        "actor_id": event.actor_id,
        "actor_name": event.actor_name,
        "key_id": event.key_id,
        "key_alias": event.key_alias,
        "version_number": event.version_number,
        "before": event.before,
        "after": event.after,
        "address": event.address,
        "request_id": event.request_id,
        "head": str(Head.of(event)),
    }


def actor_text(row: Any) -> str:
    """Return the name of the user whom a row names, or their type and id where they have none."""
    return str(row.actor_name) or f"{row.actor_type} {row.actor_id}".strip()


def log_fields(event: AuditEvent) -> dict[str, Any]:
    """Return what a log record has for a SIEM: the columns of an event, none of which is secret."""
    columns = (field.attname for field in event._meta.concrete_fields)
    fields = {f"audit_{name}": getattr(event, name) for name in columns if name not in _OF_CHAIN}
    occurred_at, key_id = event.occurred_at.isoformat(), str(event.key_id or "")
    return {**fields, "audit_occurred_at": occurred_at, "audit_key_id": key_id}
