"""A batch and somebody else wait for each other: the database ends one of the two."""

import threading
import time

import pytest
from django.db import OperationalError, connection, transaction

from envelope_fields import rotation
from envelope_fields.databases import errors
from envelope_fields.lifecycle import rotate_master_key
from envelope_fields.models import RotationState
from envelope_fields.rotation import Limits
from tests.at_once import at_once
from tests.models import Note
from tests.rotation import left

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "other"]),
    pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite locks no rows"),
]

ROWS = 20
DEADLOCK = {"postgresql": "40P01", "mysql": 1213}.get(connection.vendor)
WAITING = {
    "postgresql": "SELECT count(*) FROM pg_stat_activity "
    "WHERE datname = current_database() AND wait_event_type = 'Lock'",
    "mysql": "SELECT count(*) FROM information_schema.innodb_trx "
    "JOIN information_schema.processlist ON id = trx_mysql_thread_id "
    "WHERE db = DATABASE() AND trx_state = 'LOCK WAIT'",
}


def look_for_deadlocks_after(seconds):
    """Say when PostgreSQL looks for them; MariaDB finds them at once."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('deadlock_timeout', %s, false)", [f"{seconds}s"])


def until_the_batch_waits():
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with connection.cursor() as cursor:
            cursor.execute(WAITING[connection.vendor])
            if cursor.fetchone()[0]:
                return
        time.sleep(0.2 if connection.vendor == "mysql" else 0.01)  # InnoDB tells nothing new before
    raise AssertionError("the batch waited for nobody")


# PostgreSQL ends the one that looks first. Each looks once, so that the writer has to wait for the
# batch by then. MariaDB ends the one that has changed less: the batch, which locks its rows before
# it changes the first.
@pytest.mark.parametrize(
    ("ended", "held", "seconds_of_batch", "seconds_of_writer"),
    [("the batch", ROWS - 2, 5, 20), ("the writer", 1, 10, 0.1)],
)
def test_a_deadlock_is_survived(ended, held, seconds_of_batch, seconds_of_writer, monkeypatch):
    if ended == "the writer" and connection.vendor == "mysql":
        pytest.skip("MariaDB ends the batch")
    notes = Note.objects.bulk_create([Note(text=f"{n}", data=None) for n in range(ROWS)])
    pks = [note.pk for note in notes]
    rotate_master_key("default")
    holds = threading.Event()
    met = []
    code_of = errors.error_code
    monkeypatch.setattr(errors, "error_code", lambda error: met.append(code_of(error)) or met[-1])

    def write():
        look_for_deadlocks_after(seconds_of_writer)
        with transaction.atomic():
            Note.objects.filter(pk__in=pks[-held:]).update(title="written")
            holds.set()
            until_the_batch_waits()
            Note.objects.filter(pk=pks[0]).update(title="written")

    def turn():
        look_for_deadlocks_after(seconds_of_batch)
        holds.wait(10)
        return rotation.run("default", limits=Limits(lock_seconds=8))

    written, run = at_once(write, turn)
    if ended == "the batch":
        assert written is None
        assert DEADLOCK in met
    else:
        assert isinstance(written, OperationalError)
    assert run.state == RotationState.COMPLETED
    assert left("default") == 0
    titles = Note.objects.order_by("pk").values_list("title", flat=True)
    assert [bool(title) for title in titles] == [
        ended == "the batch" and row in (pks[0], *pks[-held:]) for row in pks
    ]
    assert sorted(int(note.text) for note in Note.objects.all()) == list(range(ROWS))
