import pytest

from tests import models
from tests.models import keyed


@pytest.fixture(autouse=True)
def few_columns(monkeypatch):
    """Let censuses and rotations of this process see the columns that these tests are about.

    A row of each model that allows something else is enough; counting all fifty, in two databases,
    would be most of the work.
    """
    seen = keyed.only(
        models.Note,
        models.UuidKeyed,
        models.CompositeKeyed,
        models.Keyword,
        models.OddNames,
        models.Place,
        models.PlaceProxy,
        models.Restaurant,
        models.Renamed,
        models.TenantNote,
        models.Child,
        models.LabNote,
        models.Document,
    )
    monkeypatch.setattr("envelope_fields.census.columns.apps", seen)
