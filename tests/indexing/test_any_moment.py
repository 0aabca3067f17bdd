"""`rebuild_indexes --to` with an index that replaces another: killed anywhere, or two at once."""

import signal

import pytest
from django.db import connection

from tests import sizes
from tests.indexing import killed
from tests.indexing.day import INDEX_1, INDEX_2, LOOK, added

pytestmark = [
    pytest.mark.any_django,
    pytest.mark.long,
    pytest.mark.django_db(transaction=True),
]

ADDRESSES = 6
GIVE = """
from clinic.models import Address, Patient
for address in Address.objects.all():
    address.patient = Patient.objects.create(email=address.email)
    address.save()
Patient.objects.create()
from django.db import connection
with connection.cursor() as cursor:
    cursor.execute("CREATE TABLE kept AS SELECT id, email_index FROM clinic_patient")
"""
AGAIN = """
from clinic.models import Patient
from django.db.models import QuerySet
from django.utils import timezone
from envelope_fields.models import BlindIndex
rows = QuerySet(BlindIndex)
rows.filter(label="clinic.patient.email_index").update(state="reading")
rows.filter(label="clinic.patient.email_index_2").update(state="filling", required_at=None)
from django.db import connection
with connection.cursor() as cursor:
    cursor.execute("UPDATE clinic_patient SET email_index_2 = NULL WHERE id % 2 = 0")
    cursor.execute(
        "UPDATE clinic_patient SET email_index = "
        "(SELECT kept.email_index FROM kept WHERE kept.id = clinic_patient.id)"
    )
"""
STATES = """
from envelope_fields.models import BlindIndex
print(*BlindIndex.objects.order_by("label").values_list("state", flat=True))
"""
TO_READING = ("rebuild_indexes", INDEX_2, "--to", "reading")
TO_RETIRED = ("rebuild_indexes", INDEX_1, "--to", "retired")


@pytest.fixture
def clinic(day):
    """Patients who were written by the first build; the second index is filling."""
    day.manage("first", "migrate", "-v0")
    day.manage("first", "shell", "-v0", "-c", added(ADDRESSES) + GIVE)
    day.manage("first", "rotate_master_key", "search")
    day.manage("both", "migrate", "-v0")
    return day


def run(day, when, at, command):
    """Run a command that is killed; return how many statements it had, or None if it was."""
    process = day.program("both", "killed", killed.__file__, when, str(at), *command)
    status = process.wait(timeout=60)
    log = (day.reports / "killed.log").read_text()
    if status == -signal.SIGKILL:
        return None
    assert status == 0, log
    return int(log.splitlines()[-1].split()[0])


def states(day):
    return day.manage("both", "shell", "-v0", "-c", STATES).split()


@pytest.mark.parametrize(
    ("when", "moments"),
    [
        ("before", sizes.size([80], range(1, 1000, 3))),
        ("after", sizes.size([45], range(2, 1000, 3))),
    ],
)
def test_killed_at_any_statement(clinic, when, moments):
    """What lookups find is right at each moment, and the next command finishes."""
    for place, at in enumerate(moments):
        if place:
            clinic.manage("both", "shell", "-v0", "-c", AGAIN)
        is_over = run(clinic, when, at, TO_READING)
        clinic.manage("both", "shell", "-v0", "-c", LOOK)
        assert states(clinic)[0] == "reading"
        clinic.manage("both", *TO_READING)
        assert states(clinic) == ["reading", "reading"]
        run(clinic, when, at, TO_RETIRED)
        clinic.manage("both", "shell", "-v0", "-c", LOOK)
        clinic.manage("both", *TO_RETIRED)
        assert states(clinic) == ["retired", "reading"]
        clinic.manage("both", "shell", "-v0", "-c", LOOK)
        if is_over:
            break
    assert is_over or not sizes.LONG
    clinic.manage("last", "migrate", "-v0")
    clinic.manage("last", "verify_indexes")


@pytest.mark.parametrize("again", range(sizes.size(1, 10)))
def test_two_at_once(clinic, again):
    if connection.vendor == "sqlite":
        pytest.skip("one process writes at a time")
    for command in (TO_READING, TO_RETIRED):
        names = [f"{number} {command[-1]}" for number in range(2)]
        both = [clinic.program("both", name, "-m", "django", *command) for name in names]
        statuses = [process.wait(timeout=60) for process in both]
        logs = [(clinic.reports / f"{name}.log").read_text() for name in names]
        assert statuses == [0, 0], logs
    assert states(clinic) == ["retired", "reading"]
    clinic.manage("both", "shell", "-v0", "-c", LOOK)
    clinic.manage("both", "verify_indexes", INDEX_2)
