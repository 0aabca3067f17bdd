"""Migrations that would rename a field that moves, by whose name its phase is found."""

import pytest
from django.db.migrations import DeleteModel, RenameField, RenameModel, SeparateDatabaseAndState

from envelope_fields.migrating.renames import PhaseWouldBeLost
from envelope_fields.models import ColumnPhase
from tests.migrating.test_moves import ADD, CREATE, REMOVE, RENAME, be

pytestmark = [pytest.mark.any_database, pytest.mark.with_our_tables]

FIELD = RenameField("visit", "report", "text")
MODEL = RenameModel("Visit", "Consultation")
OTHERS = [
    FIELD,
    MODEL,
    SeparateDatabaseAndState(state_operations=[FIELD]),
    SeparateDatabaseAndState(state_operations=[MODEL]),
    SeparateDatabaseAndState(state_operations=[DeleteModel("Visit")]),
]
IDS = ["field", "model", "field in state", "model in state", "to another app"]


@pytest.fixture
def moving(project):
    project.add("visits", CREATE)
    project.add("visits", *RENAME, ADD)
    project.migrate()
    return project


@pytest.mark.parametrize("phase", list(ColumnPhase)[1:])
@pytest.mark.parametrize("operation", OTHERS, ids=IDS)
def test_name_of_a_field_that_moves_stays(moving, operation, phase):
    be(moving, phase)
    moving.add("visits", operation)
    with pytest.raises(PhaseWouldBeLost, match=f"visits.Visit.report is {phase}, and its phase"):
        moving.migrate()


@pytest.mark.parametrize("phase", [None, ColumnPhase.CLEAR])
@pytest.mark.parametrize("operation", OTHERS, ids=IDS)
def test_before_it_moves(moving, operation, phase):
    if phase:
        be(moving, phase)
    moving.add("visits", operation)
    moving.migrate()


def test_after_it_has_moved(moving):
    be(moving, ColumnPhase.ONLY)
    moving.add("visits", *REMOVE)
    moving.add("visits", FIELD, MODEL)
    moving.migrate()


@pytest.mark.parametrize(
    ("operation", "label"),
    [(FIELD, "visits.Visit"), (MODEL, "visits.Consultation")],
    ids=["field", "model"],
)
def test_backwards(moving, operation, label):
    moving.add("visits", operation)
    moving.migrate()
    name = "text" if operation is FIELD else "report"
    be(moving, ColumnPhase.ENCRYPTED, model=label, field=name)
    with pytest.raises(PhaseWouldBeLost, match=f"{label}.{name} is encrypted"):
        moving.migrate("visits", "0002")
