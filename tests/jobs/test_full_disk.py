"""A disk that is full: what was moved stays, and the rest follows when there is room again."""

import os
import shutil
import sqlite3
import subprocess
import tempfile
import uuid
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import OperationalError, connection

from envelope_fields import rotation
from envelope_fields.models import RotationRun, RotationState
from envelope_fields.rotation import Limits
from tests.models import Note
from tests.other_process import OtherProcess
from tests.rotation import are_all_there, left, numbered_notes

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

ROWS = 200
TABLE = Note._meta.db_table


@pytest.fixture
def notes():
    if connection.vendor == "postgresql":
        # Rows of earlier tests stay in the table's file for as long as a transaction may see them.
        with connection.cursor() as cursor:
            cursor.execute(f"TRUNCATE {TABLE} CASCADE")
    return numbered_notes(ROWS)


@pytest.fixture
def small_disk():
    """A file system of 2 MiB, where servers get at it."""
    place = Path(tempfile.mkdtemp())
    try:
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", place],
            check=True, capture_output=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        place.rmdir()
        pytest.skip("only an administrator can mount a small disk")
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)
        place.rmdir()


@contextmanager
def filled(disk):
    """Leave no byte free for the time of the block."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while file.write(b"x" * size) == size:
                    pass
            except OSError:
                continue
    try:
        yield
    finally:
        ballast.unlink()


@contextmanager
def stored_on(disk):
    """Keep the table of notes on a disk of its own."""
    data = connection.cursor().execute("SHOW data_directory").fetchone()[0]
    if not os.path.isdir(data):
        pytest.skip("the server runs elsewhere")
    place = disk / "tablespace"
    place.mkdir()
    shutil.chown(place, os.stat(data).st_uid)
    name = f"small_{uuid.uuid4().hex[:8]}"
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLESPACE {name} LOCATION '{place}'")
        cursor.execute(f"ALTER TABLE {TABLE} SET TABLESPACE {name}")
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {TABLE} SET TABLESPACE pg_default")
            cursor.execute(f"DROP TABLESPACE {name}")


@pytest.mark.skipif(connection.vendor != "postgresql", reason="a table has a disk of its own there")
def test_of_a_table(notes, small_disk):
    with stored_on(small_disk):
        with filled(small_disk), pytest.raises(OperationalError, match="No space left on device"):
            rotation.run("default")
        run = RotationRun.objects.get()
        assert (run.state, left("default")) == (RotationState.FAILED, ROWS)
        assert run.error.startswith("OperationalError: could not extend file")
        assert are_all_there(ROWS)
        call_command("rewrap", verbosity=0)
        assert (left("default"), are_all_there(ROWS)) == (0, True)


@pytest.mark.skipif(connection.vendor != "sqlite", reason="a database is a file there")
def test_of_a_database(notes, small_disk):
    path = str(small_disk / "db.sqlite3")
    with sqlite3.connect(connection.settings_dict["NAME"]) as here, sqlite3.connect(path) as there:
        here.backup(there)
    here.close()
    there.close()
    read = "sorted(int(text) for text in Note.objects.values_list('text', flat=True))"
    old = "sum(row.values for row in rotation.census('default') if not row.version.is_current)"
    with OtherProcess({"default": path}) as process:
        run = process("str(rotation.start('default').pk)")
        again = f"rotation.run(rotation.find_run('{run}')).state"
        with filled(small_disk), pytest.raises(AssertionError, match="database or disk is full"):
            process(again)
        assert process(old) == ROWS
        assert process(read) == list(range(ROWS))
        # It had no room either to say that it failed, so the run is what it was, and goes on.
        assert process(again) == RotationState.COMPLETED
        assert process(old) == 0
        assert process(read) == list(range(ROWS))


def test_a_batch_that_finds_no_room(notes, monkeypatch):
    """The database refuses a write in the middle: what was moved stays, and the rest can follow."""
    from envelope_fields.jobs.batches import Batches

    swap, swaps = Batches._swap_once, []

    def full(self, *args, **kwargs):
        swaps.append(1)
        if len(swaps) == 5:
            raise OperationalError("could not extend file: No space left on device\nHINT: Check it")
        return swap(self, *args, **kwargs)

    monkeypatch.setattr(Batches, "_swap_once", full)
    with pytest.raises(OperationalError):
        rotation.run("default", limits=Limits(batch_size=10))
    run = RotationRun.objects.get()
    assert (run.state, left("default")) == (RotationState.FAILED, ROWS - 40)
    assert run.error == "OperationalError: could not extend file: No space left on device"
    call_command("rewrap", verbosity=0)
    assert (left("default"), are_all_there(ROWS)) == (0, True)
