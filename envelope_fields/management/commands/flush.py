"""`manage.py flush`: Django's, which does not take the keys of values that stay elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core import mail
from django.core.management import CommandError
from django.core.management.commands import flush
from django.db import connections

from envelope_fields.key_tables import values_that_stay
from envelope_fields.management.commands._errors import reported

_SETTING = "envelope_fields.allow_truncate"


class Command(flush.Command):
    """Looks for values under the keys that a flush would destroy, and lets PostgreSQL do it."""

    def handle(self, **options: Any) -> None:
        database = options["database"]
        if not _is_test_run():
            with reported():
                there = values_that_stay(database)
            if there:
                raise CommandError(
                    f"Flushing {database!r} would destroy the master keys in it, and values are "
                    f"stored under them where they would stay: {there}. None could be read again. "
                    "Delete these values first, or shred their keys."
                )
        with _truncate_allowed(database):
            super().handle(**options)


def _is_test_run() -> bool:
    """Whether Django's test environment is set up: then databases are made to be thrown away."""
    return hasattr(mail, "outbox")


@contextmanager
def _truncate_allowed(database: str) -> Iterator[None]:
    connection = connections[database]
    if connection.vendor != "postgresql":
        yield
        return
    _set(connection, "on")
    try:
        yield
    finally:
        if not connection.needs_rollback:
            _set(connection, "")


def _set(connection: Any, value: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config(%s, %s, false)", [_SETTING, value])
