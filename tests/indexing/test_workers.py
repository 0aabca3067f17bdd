"""An index that several processes fill, and compare."""

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from demo_project.clinic.models import Patient
from envelope_fields.indexing import find_indexes, start
from envelope_fields.jobs.representation import progress
from envelope_fields.jobs.runs import pause
from envelope_fields.models import BlindIndex, RotationRun

LABEL, ROWS = "clinic.patient.email_index", 60

pytestmark = [
    pytest.mark.any_django,
    pytest.mark.django_db(transaction=True, databases=["default", "other"]),
]


@pytest.fixture(autouse=True)
def alone():
    """Leave what is installed as it is: other processes find that."""


@pytest.fixture(autouse=True)
def tables():
    """Make no others."""


@pytest.fixture
def patients(monkeypatch):
    monkeypatch.setattr("envelope_fields.jobs.ranges.SMALLEST", 20)
    Patient.objects.bulk_create(
        Patient(file_number=f"{number}", email=f"ada{number}@example.org") for number in range(ROWS)
    )
    BlindIndex.objects.filter(label=LABEL).update(state="filling")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE clinic_patient SET email_index = NULL")


def unfilled():
    return Patient.objects.filter(email_index__isnull=True).count()


@pytest.mark.usefixtures("patients")
class TestWorkers:
    def test_two(self):
        call_command("rebuild_indexes", LABEL, workers=2, verbosity=0)
        call_command("verify_indexes", LABEL, workers=2, verbosity=0)
        verified, rebuilt = RotationRun.objects.order_by("-created_at")
        assert (progress(rebuilt).moved, unfilled()) == (ROWS, 0)
        assert rebuilt.columns.get().ranges.count() == ROWS // 20
        assert (verified.state, progress(verified).failed) == ("completed", 0)

    def test_one_that_was_paused_goes_on(self):
        [table] = [each for each in find_indexes([LABEL]) if each.using == "default"]
        pause(start(table.index, "rebuild_index", using="default"))
        call_command("rebuild_indexes", LABEL, workers=2, verbosity=0)
        assert (RotationRun.objects.get().state, unfilled()) == ("completed", 0)

    @pytest.mark.parametrize("command", ["rebuild_indexes", "verify_indexes"])
    def test_none(self, command):
        with pytest.raises(CommandError, match="workers must be a number from 1 to"):
            call_command(command, LABEL, workers=0)
