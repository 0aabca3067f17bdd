import pytest

from envelope_fields.fields.conversion import call_sites
from envelope_fields.models import ColumnPhase
from tests.models.converting import Visit, set_phase


@pytest.fixture(params=ColumnPhase.values)
def phase(request, db):
    """Have the report of visits be in each phase."""
    set_phase(Visit, "report", request.param)
    return ColumnPhase(request.param)


@pytest.fixture
def noted(caplog):
    """Return what was logged of places that ask the column in clear, from here on."""
    call_sites.forget()
    return lambda: [
        each.getMessage()
        for each in caplog.records
        if each.name == "envelope_fields.fields.conversion"
    ]
