"""The clinic at work, in a process of its own, whatever `visits` is meanwhile.

Notes say how often they were changed, and a column beside them does. So a change that was lost, or
notes that are old, are seen when they are read.
"""

from __future__ import annotations

from time import sleep
from typing import Any

import django

from demo_project.processes import receive

WORD = "penicillin"  # is in all notes, and looked for where they should not be
VISITS = 2_000  # from before
SECONDS_UNTIL_NEXT_TRY = 0.01


class NotesDiffer(Exception):
    """Notes are not what was written."""


def main() -> None:
    django.setup()
    load()
    receive(receive_patient, Exception)


def receive_patient(number: int) -> None:
    """Have the notes of a visit be read and changed, and those of a new one be written."""
    from django.db import OperationalError

    while True:
        try:
            return _receive_patient(number)
        except OperationalError as error:  # SQLite has one writer at a time
            if "locked" not in str(error):
                raise
        sleep(SECONDS_UNTIL_NEXT_TRY)


def _receive_patient(number: int) -> None:
    from django.db import transaction
    from visits.models import Visit

    with transaction.atomic():
        visit = Visit.objects.order_by("pk")[number % VISITS]
        check(visit)
        visit.changes += 1
        visit.notes = notes(visit.changes)
        visit.save()
        Visit.objects.create(notes=notes(0))


def load() -> None:
    """Write the notes of visits from before, unless they are there."""
    from visits.models import Visit

    if not Visit.objects.exists():
        Visit.objects.bulk_create(Visit(notes=notes(0)) for _ in range(VISITS))


def check_all() -> None:
    """Compare the notes of all visits, and print of how many."""
    from visits.models import Visit

    visits = list(Visit.objects.all())
    for visit in visits:
        check(visit)
    print(f"{len(visits)} notes read, and each is what was written last.")


def check(visit: Any) -> None:
    """Compare the notes of a visit with how often they were changed.

    Raises:
        NotesDiffer: they say something else.
    """
    if visit.notes != notes(visit.changes):
        raise NotesDiffer(f"The notes of visit {visit.pk} are not what was written.")


def notes(changes: int) -> str:
    """Return what is written."""
    return f"Allergic to {WORD}. Changed {changes} times."


if __name__ == "__main__":
    main()
