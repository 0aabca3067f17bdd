"""Events for tests, and what somebody does to them who can write to the database."""

from contextlib import contextmanager

from django.db import connection, transaction

from envelope_fields import audit
from envelope_fields.audit import triggers
from envelope_fields.models import AuditEvent
from envelope_fields.policy import APPLICATION


def record(action="rotate", *, actor=APPLICATION, **columns):
    """Record an event in a transaction of its own."""
    with transaction.atomic():
        return audit.record(action, actor=actor, using="default", **columns)


def numbers():
    return list(AuditEvent.objects.order_by("number").values_list("number", flat=True))


@contextmanager
def tampering():
    """Lend a cursor to somebody whom neither triggers nor foreign keys keep from anything."""
    triggers.drop(connection)
    try:
        with _without_foreign_keys(), connection.cursor() as cursor:
            yield cursor
    finally:
        triggers.create(connection)


@contextmanager
def _without_foreign_keys():
    off, on = {
        "sqlite": ("PRAGMA foreign_keys = OFF", "PRAGMA foreign_keys = ON"),
        "mysql": ("SET FOREIGN_KEY_CHECKS = 0", "SET FOREIGN_KEY_CHECKS = 1"),
        "postgresql": (
            "SET session_replication_role = replica",
            "SET session_replication_role = origin",
        ),
    }[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(off)
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(on)
