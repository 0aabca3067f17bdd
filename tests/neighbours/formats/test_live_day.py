"""An application with fields of other packages becomes one with ours, while both builds write."""

import json
import subprocess
import sys
import threading
from contextlib import contextmanager
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connections

from envelope_fields.exceptions import MalformedEnvelope
from envelope_fields.models import ColumnConversion
from tests.neighbours.formats import old_build
from tests.neighbours.formats.models import Visit

FIELDS = ("report", "note")
LABELS = {name: f"formats.Visit.{name}" for name in FIELDS}
pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "mariadb"])


class OldBuild(subprocess.Popen):
    """A process of the old build, which writes."""

    def __init__(self, alias, name):
        self._settings = connections[alias].settings_dict
        known = ("ENGINE", "HOST", "PORT", "USER", "PASSWORD", "NAME", "OPTIONS")
        database = json.dumps({each: self._settings[each] for each in known})
        super().__init__(
            [sys.executable, "-m", "tests.neighbours.formats.old_build", database, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.stdout.readline() == "at work\n"

    def end(self):
        """Return what it has written last, by row."""
        written, _ = self.communicate(timeout=60)
        return {int(row): values for row, values in json.loads(written).items()}


@contextmanager
def new_build(alias, name):
    """Have a thread of the new build write while the block runs; yield what it has written."""
    over, written = threading.Event(), {}

    def work():
        try:
            visits = Visit.objects.using(alias)
            written.update(old_build.write(visits, name, over.is_set))
        finally:
            connections.close_all()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield written
    finally:
        over.set()
        thread.join()


def command(*arguments):
    out = StringIO()
    try:
        call_command(*arguments, stdout=out, stderr=out)
    except CommandError as error:
        return f"{out.getvalue()}{error}", False
    return out.getvalue(), True


def every_value(alias):
    return {row.pk: [row.report, row.note] for row in Visit.objects.using(alias).order_by("pk")}


def formats(alias):
    """Return the first bytes of all that is stored."""
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT report, note FROM formats_visit")
        return {bytes(value)[:1] for row in cursor.fetchall() for value in row}


def read_all_the_while(alias, seen):
    """Open every value; no row may go back to what its writer wrote before."""
    for row, values in every_value(alias).items():
        for place, value in enumerate(values):
            number = int(value.rpartition(" ")[2])
            assert number >= seen.get((row, place), 0)
            seen[row, place] = number


@pytest.mark.parametrize("alias", ["default", "mariadb"])
def test_live_day(alias):
    before = OldBuild(alias, "before")
    held = before.end()
    assert formats(alias) == {b"g", b"\x80"}
    assert every_value(alias) == held

    seen = {}
    old = OldBuild(alias, "old")
    with new_build(alias, "new") as by_the_new:
        for name in FIELDS:
            out, _ = command("convert_field", LABELS[name], "--to=converting", "--batch-size=7")
            assert "0 failed" in out
            read_all_the_while(alias, seen)
        assert not ColumnConversion.objects.filter(phase="finished").exists()
        held |= old.end()
        read_all_the_while(alias, seen)
        # The old build has ended, the new one goes on.
        for name in FIELDS:
            out, well = command("convert_field", LABELS[name], "--to=finished")
            assert well, out
        read_all_the_while(alias, seen)
    held |= by_the_new
    assert formats(alias) == {b"\x01"}
    assert every_value(alias) == held
    assert {name.partition(":")[0] for name, _ in held.values()} == {"before", "old", "new"}

    late = OldBuild(alias, "booted once more").end()
    for row in late:
        visit = Visit.objects.using(alias).get(pk=row)
        for name in FIELDS:
            with pytest.raises(MalformedEnvelope):
                getattr(visit, name)
    out, well = command("convert_field", LABELS["report"], "--to=finished")
    assert not well
    assert f"{len(late)} values of django-fernet-fields left" in out
