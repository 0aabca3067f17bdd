"""The rows that say how often key versions were used, and when last."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import DateTimeField, F, Max, QuerySet, Value
from django.db.models.functions import Coalesce, Greatest

from envelope_fields.databases import clock
from envelope_fields.models import KeyUse, MasterKeyVersion

# By version id, day, action and channel.
Which = tuple[bytes, date, str, str]


@dataclass(slots=True)
class Day:
    """What a version was used for on one day, and refused for; times as `timezone.now()` has them,
    in memory, and by the clock of the keys' database in its rows.

    Attributes:
        uses, used_at: how often, and when last.
        refused, refused_at: the same of attempts that its state did not allow.
    """

    uses: int = 0
    used_at: datetime | None = None
    refused: int = 0
    refused_at: datetime | None = None

    def add(self, other: Day) -> None:
        self.uses += other.uses
        self.refused += other.refused
        self.used_at = latest(self.used_at, other.used_at)
        self.refused_at = latest(self.refused_at, other.refused_at)

    def later(self, by: timedelta) -> Day:
        """Return the same with times that are so much later."""
        used_at, refused_at = (at and at + by for at in (self.used_at, self.refused_at))
        return replace(self, used_at=used_at, refused_at=refused_at)


def latest(*moments: datetime | None) -> datetime | None:
    """Return the latest of some moments, of which each may be missing."""
    return max((moment for moment in moments if moment is not None), default=None)


def write(days: Mapping[Which, Day], using: str) -> bool:
    """Add to the rows, all or none, and return whether all the versions are there.

    Raises:
        DatabaseError: it could not be written.
    """
    ids = {version_id for version_id, *_ in days}
    versions = MasterKeyVersion.objects.using(using).filter(version_id__in=ids)
    pks = {bytes(version_id): pk for pk, version_id in versions.values_list("pk", "version_id")}
    ahead = clock.ahead()
    rows = [
        (
            {"version_id": pks[version_id], "day": day, "action": action, "channel": channel},
            added.later(ahead),
        )
        for (version_id, day, action, channel), added in sorted(days.items(), key=_which)
        if version_id in pks
    ]
    table = KeyUse.objects.using(using)
    _make(table, [names for names, _ in rows])
    with transaction.atomic(using=using):
        for names, added in rows:  # in one order, so that two processes never wait for each other
            table.filter(**names).update(**_changes(added))
    return ids == set(pks)


def _make(table: QuerySet[KeyUse], wanted: list[dict[str, Any]]) -> None:
    """Make the rows that are not there yet, outside of the transaction that changes them.

    On MariaDB, two processes that meet in a row that they make would wait for each other there.
    """
    there = table.filter(
        version__in={names["version_id"] for names in wanted},
        day__in={names["day"] for names in wanted},
    )
    known = set(there.values_list("version_id", "day", "action", "channel"))
    missing = [KeyUse(**names) for names in wanted if tuple(names.values()) not in known]
    if missing:
        table.bulk_create(missing, ignore_conflicts=True)


def last_used(versions: Collection[MasterKeyVersion], using: str, **which: Any) -> datetime | None:
    """Return when rows that match say that versions were last used; None if never."""
    uses = KeyUse.objects.using(using).filter(version__in=versions, **which)
    at: datetime | None = uses.aggregate(at=Max("used_at"))["at"]
    return at


def last_refused(
    versions: Collection[MasterKeyVersion], using: str, **which: Any
) -> datetime | None:
    """Return when rows that match say that a use of versions was last refused."""
    uses = KeyUse.objects.using(using).filter(version__in=versions, **which)
    at: datetime | None = uses.aggregate(at=Max("refused_at"))["at"]
    return at


def _which(item: tuple[Which, Day]) -> Which:
    return item[0]


def _changes(added: Day) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if added.uses:
        changes["uses"] = F("uses") + added.uses
    if added.refused:
        changes["refused"] = F("refused") + added.refused
    for name in ("used_at", "refused_at"):
        at = getattr(added, name)
        if at is not None:
            # Of a NULL, MariaDB and SQLite make a NULL.
            value = Value(at, output_field=DateTimeField())
            changes[name] = Greatest(Coalesce(F(name), value), value)
    return changes
