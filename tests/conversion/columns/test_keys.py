"""A column that moves under keys that follow from the row: of a tenant, or by a function."""

import pytest
from django.core.exceptions import FieldError
from django.db import connection, models, transaction

from envelope_fields.conversion.column_phases import moving_field
from envelope_fields.conversion.counts import Counted, counted
from envelope_fields.fields import EncryptedTextField
from envelope_fields.lifecycle import create_master_key
from envelope_fields.models import MasterKey
from envelope_fields.tenants import TenantKey
from tests.conversion.columns.test_steps import convert
from tests.models.tables import Registry, tables_of
from tests.stored import stored, version_of

pytestmark = pytest.mark.django_db(databases="__all__")

apps = Registry("keys")


def key_of_ward(visit):
    return f"ward/{visit.ward}"


def _model(name, key):
    class Meta:
        app_label = "keys"

    Meta.apps = apps
    body = {
        "__module__": __name__, "Meta": Meta,
        "ward": models.CharField(max_length=20),
        "report_clear": models.TextField(null=True, editable=False, db_column="report"),
        "report": EncryptedTextField(
            null=True, converts="report_clear", db_column="report_encrypted", key=key
        ),
    }  # fmt: skip
    return type(name, (models.Model,), body)


OfTenant = _model("OfTenant", TenantKey("ward/{ward}"))
ByFunction = _model("ByFunction", key_of_ward)
KINDS = [OfTenant, ByFunction]
tables = tables_of(apps, "other")


@pytest.fixture(autouse=True)
def known(monkeypatch):
    monkeypatch.setattr("envelope_fields.census.columns.apps", apps)


@pytest.fixture(params=KINDS, ids=lambda model: model.__name__)
def visits(request):
    model = request.param
    if model is ByFunction:
        for ward in "AB":
            create_master_key(f"ward/{ward}")
    for ward, report in (("A", "of A"), ("B", "of B"), ("A", None)):
        model.objects.create(ward=ward, report=report)
    return model


def convert_to(model, *phases):
    for phase in phases:
        assert convert(phase, label=f"keys.{model.__name__}.report")[1] == ""


def alias_of(visit):
    version = version_of(stored(visit, "report"))
    return MasterKey.objects.get(versions__version_id=version).alias


@pytest.mark.parametrize("phase", ["verified", "encrypted", "only"])
def test_each_value_is_under_the_key_of_its_row(visits, phase):
    convert_to(visits, *(("encrypted", "only") if phase == "only" else (phase,)))
    first, second, third = visits.objects.order_by("pk")
    assert [first.report, second.report, third.report] == ["of A", "of B", None]
    key = visits._meta.get_field("report").key
    new = visits.objects.create(ward="B", report="new")
    assert [alias_of(each) for each in (first, second, new)] == [
        key(first), key(second), key(second),
    ]  # fmt: skip
    assert key(first) != key(second)


def test_what_was_restored(visits):
    """In the last phase, what is in clear alone goes under the key of its row, too."""
    convert_to(visits, "encrypted", "only")
    row = visits.objects.create(ward="A")
    write_in_clear(row, "of a backup")
    convert_to(visits, "only")
    row.refresh_from_db()
    assert (row.report, alias_of(row)) == ("of a backup", row._meta.get_field("report").key(row))
    assert counted(moving_field(f"keys.{visits.__name__}.report")) == Counted(0, 3, 3)


def test_tenant_without_a_key_yet():
    visit = OfTenant.objects.create(ward="new", report="the first")
    convert_to(OfTenant, "encrypted")
    visit.refresh_from_db()
    assert alias_of(visit) == OfTenant._meta.get_field("report").key(visit)


@pytest.mark.parametrize("phase", ["clear", "verified", "encrypted", "only"])
def test_ways_to_write_without_a_row_are_refused(visits, phase):
    convert_to(visits, *(("encrypted", "only") if phase == "only" else (phase,)))
    with pytest.raises(FieldError), transaction.atomic():
        visits.objects.update(report="x")
    assert sorted(each.report or "" for each in visits.objects.all()) == ["", "of A", "of B"]


def write_in_clear(row, text):
    quote = connection.ops.quote_name
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {quote(row._meta.db_table)} SET report = %s WHERE id = %s", [text, row.pk]
        )
