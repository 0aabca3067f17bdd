"""Walking the trail from its first event to its head, and looking at each MAC."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from django.db.models import Max, Q, QuerySet

from envelope_fields import keyring, models
from envelope_fields.audit import trail
from envelope_fields.audit.events import EMPTY, Head, message
from envelope_fields.audit.trail import MAC_KEY
from envelope_fields.conf import configuration
from envelope_fields.models import AuditEvent
from envelope_fields.models.audit import NO_MAC
from envelope_fields.models.keys import stored_bytes

BATCH = 1000
# How many MACs the event before may have had: the stored one, and what it ought to be.
_PREDECESSORS = 4


class Cause(StrEnum):
    """What is wrong with events."""

    CHANGED = "changed"
    MISSING = "missing"
    FORGED = "forged"
    UNPROVEN = "unproven"
    CUT = "cut"
    EMPTIED = "emptied"
    REPLACED = "replaced"
    HEAD = "head"


MEANINGS = {
    Cause.CHANGED: "its MAC is not that of its columns and of the event before it: it was changed, "
    "moved to another number, or made without the key",
    Cause.MISSING: "there is no such event, and there are later ones: it was removed",
    Cause.FORGED: "its MAC is under a key that is not the trail's: it was made elsewhere",
    Cause.UNPROVEN: "its MAC cannot be checked, because the event before it is missing",
    Cause.CUT: "there is no such event, and the known head is of this number or a later one: the "
    "tail was cut off",
    Cause.EMPTIED: "there is no event, and there is what only an act that leaves one makes: "
    "the trail was emptied",
    Cause.REPLACED: "it is not the event that the known head is of: the trail was replaced",
    Cause.HEAD: "the head row does not name it as the last event, or not its MAC",
}


@dataclass(slots=True)
class Problem:
    """Events that follow each other, by their numbers, and have the same wrong with them."""

    first: int
    last: int
    cause: Cause

    def __str__(self) -> str:
        if self.first == self.last:
            return f"event {self.first}: {MEANINGS[self.cause]}"
        return f"events {self.first} to {self.last}, each: {MEANINGS[self.cause]}"


@dataclass(slots=True)
class Verification:
    """What a verification found."""

    events: int = 0  # how many there are
    head: Head = EMPTY  # the last one, as it is stored: keep it elsewhere for the next time
    problems: list[Problem] = field(default_factory=list)  # by number

    @property
    def intact(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def add(self, first: int, last: int, cause: Cause) -> None:
        """Add what is wrong; neighbours become one, so that the list stays short."""
        before = self.problems[-1] if self.problems else None
        if before is not None and before.cause == cause and before.last == first - 1:
            before.last = last
        else:
            self.problems.append(Problem(first, last, cause))


def verify(head: tuple[int, bytes] | None = None) -> Verification:
    """Check every event of the trail, in batches, while others may append to it.

    Args:
        head: number and MAC of a head that was kept elsewhere: from a log line, an earlier
            verification or `audit.head()`. Without one, a tail that was cut off together with the
            head row does not show, nor does a whole trail that was put in the place of this one.
            A trail that was emptied shows where traces of its acts remain.

    Raises:
        ImproperlyConfigured, RootKeyRefused, RootKeyUnavailable: the key of the trail does not
            open, so that no MAC can be checked.
    """
    using = configuration().database
    events = AuditEvent.objects.using(using)
    # Asked for before the head, which is never behind: others may append meanwhile.
    last = events.aggregate(Max("number"))["number__max"] or 0
    stored = trail.head()
    walk = _Walk(models.AuditKey.objects.using(using).filter(number=MAC_KEY).first(), head)
    for event in up_to(max(last, stored.number), events):
        walk.step(event)
    walk.end(stored, traces_of_acts=not walk.found.events and _has_traces_of_acts(using))
    return walk.found


def _has_traces_of_acts(using: str) -> bool:
    """Whether there is what only an act makes that leaves an event: `migrate` makes less."""
    default = models.DEFAULT_ALIAS
    made_by_migrate = Q(alias=default) | Q(alias__startswith=f"{default}/")
    changed = ~Q(state=models.KeyState.ENABLED) | ~made_by_migrate
    return (
        models.KeyGrant.objects.using(using).exists()
        or models.MasterKeyVersion.objects.using(using).filter(number__gt=1).exists()
        or models.MasterKey.objects.using(using).filter(changed).exists()
    )


class _Walk:
    """Where a verification has come to."""

    def __init__(self, key: models.AuditKey | None, known: tuple[int, bytes] | None) -> None:
        self.found = Verification()
        self._key = key
        self._known = EMPTY if known is None else Head(*known)
        # A MAC that was changed must not make the next event suspect. Empty: unknown.
        self._predecessors: tuple[bytes, ...] = (NO_MAC,)

    def step(self, event: AuditEvent | Unreadable) -> None:
        """Look at the next event."""
        found, mac = self.found, stored_bytes(event.mac)
        if event.number > found.head.number + 1:
            found.add(found.head.number + 1, event.number - 1, Cause.MISSING)
            self._predecessors = ()
        expected = self._expected(event)
        cause = self._cause(event, mac, expected)
        if cause is not None:
            found.add(event.number, event.number, cause)
        self._predecessors = (mac, *expected)[: _PREDECESSORS if cause else 1]
        found.events += 1
        found.head = Head(event.number, mac)

    def end(self, stored: Head, traces_of_acts: bool = False) -> None:
        """Compare the last event with the stored head row, and with the known head.

        Where there are `traces_of_acts`, there must have been events.
        """
        found, last = self.found, self.found.head
        there_were = max(self._known.number, stored.number)
        if there_were > last.number:
            found.add(last.number + 1, there_were, Cause.CUT)
        if stored != last and stored.number <= last.number:
            found.add(last.number, last.number, Cause.HEAD)
        # The key of the trail is made with its first event.
        if found.intact and not found.events and (traces_of_acts or self._key is not None):
            found.add(1, 1, Cause.EMPTIED)

    def _cause(
        self, event: AuditEvent | Unreadable, mac: bytes, expected: list[bytes]
    ) -> Cause | None:
        if self._key is None or stored_bytes(event.mac_version) != bytes(self._key.version_id):
            return Cause.FORGED
        if not self._predecessors:
            return Cause.UNPROVEN
        if isinstance(event, Unreadable) or mac not in expected:
            return Cause.CHANGED
        if event.previous_id != (event.number - 1 or None):
            return Cause.CHANGED
        if event.number == self._known.number and mac != self._known.mac:
            return Cause.REPLACED
        return None

    def _expected(self, event: AuditEvent | Unreadable) -> list[bytes]:
        """Return the MACs that an event may have."""
        if isinstance(event, Unreadable) or self._key is None:
            return []
        try:
            messages = [message(event, before) for before in self._predecessors]
        except (AttributeError, OverflowError, RecursionError, TypeError, ValueError):
            return []  # a column holds what was never written there
        return [keyring.mac(self._key, message) for message in messages]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An event with a column that cannot be what was written there."""

    number: int
    mac: bytes
    mac_version: bytes


def up_to(number: int, events: QuerySet[AuditEvent]) -> Iterator[AuditEvent | Unreadable]:
    """Yield events in the order of their numbers, with one query for each batch."""
    remaining = events.filter(number__lte=number).order_by("number")
    while True:
        batch = _loaded(remaining[:BATCH])
        yield from batch
        if len(batch) < BATCH:
            return
        remaining = remaining.filter(number__gt=batch[-1].number)


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
