"""How often values in another package's format are read: counted per day, field and package.

The trail has an event for the first of a day, which says how many there were on the day before
that: so it shows until when a column was not converted, and its users could not know it. As uses of
keys, they are counted in memory, and written where that disturbs nothing.
"""

import logging
from collections import Counter
from datetime import date
from operator import itemgetter
from threading import Lock
from typing import Any, ClassVar

from django.db.models import F
from django.utils import timezone

from envelope_fields import keyring
from envelope_fields.audit import events, trail
from envelope_fields.audit.write_behind import WriteBehind
from envelope_fields.databases import transactions
from envelope_fields.models import AuditEvent, AuditOutcome, LegacyRead
from envelope_fields.policy import APPLICATION
from envelope_fields.policy.requests import NOWHERE

ACTION = "read_legacy_values"
WRITE_SECONDS = 60

Which = tuple[str, date, str]  # the path of a field, day and package
_logger = logging.getLogger(__name__)


class _Reads(WriteBehind):
    """Reads that are not in the database yet."""

    SECONDS: ClassVar = WRITE_SECONDS
    FAILED: ClassVar = "Reads in formats of other packages could not be written yet: %s"

    def clear(self) -> None:
        super().clear()
        self.lock = Lock()
        self.reads: Counter[Which] = Counter()
        self.several_layers: Counter[Which] = Counter()

    def note(self, field_path: str, package: str, layers: int) -> None:
        """Count a value that was read."""
        which = field_path, timezone.now().date(), package
        with self.lock:
            is_first = not self.reads
            self.reads[which] += 1
            self.several_layers[which] += layers > 1
        if is_first:
            self.belongs_here()

    def is_waiting(self, *, last: bool = False) -> bool:
        return bool(self.reads) and not self.lock.locked()

    def write(self, using: str) -> None:
        with self.lock, transactions.waiting_briefly(using):
            reads, several = self.reads, self.several_layers
            self.reads, self.several_layers = Counter(), Counter()
            # In one order, so that two processes never wait for each other.
            left = sorted(reads.items(), key=itemgetter(0), reverse=True)
            try:
                while left:
                    which, number = left[-1]
                    _write(which, number, several[which], using)
                    left.pop()
            finally:
                self.reads.update(dict(left))
                self.several_layers.update({which: several[which] for which, _ in left})


buffer = _Reads(_logger, keyring.this_thread)


def connect() -> None:
    """Write what was counted when there is time."""
    buffer.connect()


def _write(which: Which, number: int, several: int, using: str) -> None:
    field, day, package = which
    rows = LegacyRead.objects.using(using)
    with trail.act(using):
        row, is_first = rows.get_or_create(field=field, day=day, package=package)
        added = {"reads": F("reads") + number, "several_layers": F("several_layers") + several}
        rows.filter(pk=row.pk).update(**added)
        if is_first:
            trail.append_all(_events(which, _before(which, using)), using)


def _before(which: Which, using: str) -> dict[str, Any]:
    """Return what is known of the last day before."""
    field, day, package = which
    rows = LegacyRead.objects.using(using).filter(field=field, package=package, day__lt=day)
    last = rows.order_by("-day").first()
    return {} if last is None else {"day": str(last.day), "reads": last.reads}


def _events(which: Which, before: dict[str, Any]) -> list[AuditEvent]:
    field, day, package = which
    return events.events_of(
        ACTION,
        [(None, None, {"field": field, "package": package, "day": str(day)})],
        outcome=AuditOutcome.DONE,
        at=events.now(),
        actor=APPLICATION,
        origin=NOWHERE,
        before=before,
    )
