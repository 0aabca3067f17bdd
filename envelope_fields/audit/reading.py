"""Events as a verification reads them: in batches, whatever somebody has put into their columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django.db.models import QuerySet

from envelope_fields.models import AuditEvent

BATCH = 1000


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An event with a column that cannot be what was written there."""

    number: int
    mac: bytes
    mac_version: bytes


def up_to(number: int, events: QuerySet[AuditEvent]) -> Iterator[AuditEvent | Unreadable]:
    """Yield events in the order of their numbers, with one query for each batch."""
    left = events.filter(number__lte=number).order_by("number")
    while True:
        batch = _loaded(left[:BATCH])
        yield from batch
        if len(batch) < BATCH:
            return
        left = left.filter(number__gt=batch[-1].number)


def stored_bytes(value: object) -> bytes:
    """Return the bytes of a binary column; none where it holds something else, as on SQLite."""
    return bytes(value) if isinstance(value, bytes | bytearray | memoryview) else b""


def _loaded(batch: QuerySet[AuditEvent]) -> list[AuditEvent | Unreadable]:
    try:
        return list(batch)
    except Exception:  # drivers and fields raise what they like
        found = list(batch.values_list("number", "mac", "mac_version"))
    return [_one(batch, *columns) for columns in found]


def _one(
    batch: QuerySet[AuditEvent], number: int, mac: object, mac_version: object
) -> AuditEvent | Unreadable:
    try:
        return AuditEvent.objects.using(batch.db).get(number=number)
    except Exception:
        return Unreadable(number, stored_bytes(mac), stored_bytes(mac_version))
