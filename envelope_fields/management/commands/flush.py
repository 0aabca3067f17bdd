"""`manage.py flush`: Django's, which does not take the keys of values that stay elsewhere."""

from typing import Any

from django.core.management import CommandError
from django.core.management.commands import flush

from envelope_fields.databases import database as database_of, is_test_run
from envelope_fields.management import reported
from envelope_fields.migrating.refusals import values_that_stay

_ALLOW = "SET LOCAL envelope_fields.allow_truncate = 'on'"
_REFUSE = "SET LOCAL envelope_fields.allow_truncate = 'off'"


class Command(flush.Command):
    """Looks for values under the keys that a flush would destroy, and lets PostgreSQL do it."""

    def handle(self, **options: Any) -> None:
        database = options["database"]
        if not is_test_run():
            with reported():
                there = values_that_stay(database)
            if there:
                raise CommandError(
                    f"Flushing {database!r} would destroy the master keys in it, and values are "
                    f"stored under them where they would stay: {there}. None could be read again. "
                    "Delete these values first, or shred their keys."
                )
        # In the transaction that does it and in no other: a pool of connections would hand a
        # setting of the session to another user of it.
        with database_of(database).truncating(_ALLOW, _REFUSE):
            super().handle(**options)
