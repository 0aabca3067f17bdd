"""The clock of the keys' database, which all processes share.

Those of machines may differ by more than the time that is waited before a key is shredded. So the
times that one process writes down for another to compare with, when a state was changed or a key
was used, are of this one.
"""

from datetime import datetime, timedelta

from django.utils import timezone

from envelope_fields.conf import configuration
from envelope_fields.databases import database


def now() -> datetime:
    """Return what time it is, as `timezone.now()` does.

    Raises:
        DatabaseError: the keys' database cannot be asked.
    """
    return database(configuration().database).now()


def ahead() -> timedelta:
    """Return how far it is ahead of `timezone.now()`.

    What happened before the question is never taken for later than the answer.

    Raises:
        DatabaseError: the keys' database cannot be asked.
    """
    before = timezone.now()
    return now() - before


__all__ = ["ahead", "now"]
