"""A key is destroyed together with what is under it, and values in clear are under none."""

import pytest

from envelope_fields.lifecycle import create_master_key, shred
from envelope_fields.lifecycle.shredding import in_clear
from tests.models import moving
from tests.models.moving import Visit
from tests.models.tables import tables_of
from tests.stored import store

pytestmark = pytest.mark.django_db(databases="__all__")
tables = tables_of(moving.apps, "other")


@pytest.fixture
def _in_clear():
    visit = Visit.objects.create(report="text")
    store(visit, "report_clear", "text")


@pytest.mark.usefixtures("_in_clear")
def test_what_is_in_clear_is_named():
    [named] = in_clear("default")
    assert "report" in named.location
    assert "1 value in clear" in named.reason
    assert "text" not in named.reason
    assert in_clear("lab") == []
    Visit.objects.all().delete()
    assert in_clear("default") == []


@pytest.mark.usefixtures("_in_clear")
def test_certificate_names_it(monkeypatch):
    monkeypatch.setattr(Visit._meta.get_field("report"), "key", "lab")
    certificate = shred(create_master_key("lab"))
    assert any("value in clear" in each for each in certificate.not_counted)
