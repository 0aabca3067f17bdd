"""The bytes of an event that its MAC is made over (`docs/spec/audit-trail-v1.md`)."""

import json
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from django.db import connections
from django.utils import timezone

from envelope_fields.conf import configuration
from envelope_fields.crypto.context import encode
from envelope_fields.models import AuditEvent

DOMAIN = b"audit-event-v1"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def message(event: AuditEvent, predecessor: bytes) -> bytes:
    """Return what the MAC of an event is made over.

    Args:
        event: the event, its MAC left out.
        predecessor: the MAC of the event before, or 32 zero bytes.
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


def _json(value: Any) -> bytes:
    # Databases order keys and space them as they like.
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


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
    return value.to_bytes(8, "little", signed=True)
