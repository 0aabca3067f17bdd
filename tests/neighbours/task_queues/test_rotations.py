"""A rotation that is started where nobody waits is done by the project's tasks."""

import pytest
from django.core.checks import run_checks

from envelope_fields import rotation
from envelope_fields.lifecycle import rotate_master_key
from envelope_fields.models import RotationState
from envelope_fields.rotation.runs import start_dispatched
from tests.neighbours.task_queues.models import Note

pytestmark = pytest.mark.django_db(databases="__all__", transaction=True)


def test_all_ranges(monkeypatch):
    monkeypatch.setattr("envelope_fields.jobs.ranges.SMALLEST", 5)
    Note.objects.bulk_create(Note(text=f"{number}") for number in range(12))
    rotate_master_key("default")
    run = rotation.find_run(start_dispatched("default"))
    assert run.state == RotationState.COMPLETED
    assert rotation.progress(run).moved == 12
    assert all(row.version.is_current for row in rotation.census("default"))


def test_no_check_complains():
    assert [message.id for message in run_checks() if message.is_serious()] == []
