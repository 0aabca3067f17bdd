"""Several models of one table: its column is in one phase."""

import pytest
from django.db import models

from envelope_fields.conversion.column_phases import moving_field, phase_now
from envelope_fields.fields import EncryptedTextField
from envelope_fields.fields.legacy import FernetFields
from tests.conversion.columns.test_steps import LABEL, convert, old_rows
from tests.models import moving
from tests.models.moving import Visit
from tests.models.tables import Registry, tables_of

pytestmark = pytest.mark.django_db(databases="__all__")
tables = tables_of(moving.apps, "other")


def make_twin(apps, name="VisitOfReports", **options):
    """Return an unmanaged model of the table of visits."""

    class Meta:
        app_label = "moving"
        db_table = Visit._meta.db_table
        managed = False

    Meta.apps = apps
    body = {
        "__module__": __name__, "Meta": Meta,
        "ward": models.CharField(max_length=20, default=""),
        "report_clear": models.TextField(null=True, editable=False, db_column="report"),
        "report": EncryptedTextField(
            null=True, converts="report_clear", db_column="report_encrypted",
            context="moving.visit.report",
        ),
        **options,
    }  # fmt: skip
    return type(name, (models.Model,), body)


@pytest.fixture
def twin():
    """An unmanaged model beside that of visits, in the same registry."""
    before = dict(moving.apps.all_models["moving"])
    yield make_twin(moving.apps)
    moving.apps.all_models["moving"].clear()
    moving.apps.all_models["moving"].update(before)
    moving.apps.clear_cache()
    Registry.get_models.cache_clear()


@pytest.mark.parametrize("phase", ["both", "verified", "encrypted", "only"])
def test_reads_and_writes_what_the_model_of_the_table_does(twin, phase):
    old_rows(1)
    for each in ("encrypted", phase) if phase == "only" else (phase,):
        assert convert(each)[1] == ""
    of_twin = twin.objects.create(report="of the twin")
    assert Visit.objects.get(pk=of_twin.pk).report == "of the twin"
    ours = Visit.objects.create(report="ours")
    assert twin.objects.get(pk=ours.pk).report == "ours"
    assert twin.objects.filter(report=None).count() == 1


def test_that_was_there_before(twin):
    assert twin._meta.get_field("report").conversion_owner("default") is Visit._meta.get_field(
        "report"
    )
    assert Visit._meta.get_field("report").conversion_owner("default") is Visit._meta.get_field(
        "report"
    )


def test_table_of_the_same_name_in_another_database(twin, settings):
    """Where the models live in different databases, these are two tables."""
    settings.DATABASE_ROUTERS = [_Apart()]
    field = twin._meta.get_field("report")
    vars(field).pop("_owners", None)
    assert field.conversion_owner("other") is field
    assert field.conversion_owner("default") is Visit._meta.get_field("report")


class _Apart:
    def allow_migrate(self, db, app_label, model_name=None, **hints):
        if model_name == "visit":
            return db == "default"
        return None

    def db_for_write(self, model, **hints):
        return "default"


def test_readers_of_another_package_end_for_both(twin):
    """A field of its own, with `legacy=`, in the table of another."""
    del twin
    apps = Registry("moving")
    options = {"legacy": [FernetFields()], "db_column": "secret"}
    first = make_twin(apps, "First", report_clear=None, report=EncryptedTextField(**options))
    second = make_twin(apps, "Second", report_clear=None, report=EncryptedTextField(**options))
    assert second._meta.get_field("report").conversion_owner("default") is first._meta.get_field(
        "report"
    )


def test_the_phase_is_that_of_the_label(twin):
    old_rows(1)
    convert("both")
    assert phase_now(moving_field(LABEL)) == "both"
