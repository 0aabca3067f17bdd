"""What forms, serializers, dumps and packages see of the two fields: one value, once."""

import json
import pickle

import pytest
from django.core import serializers
from django.core.exceptions import FieldError
from django.db import models, transaction
from django.db.migrations.state import ModelState, ProjectState
from django.db.migrations.writer import MigrationWriter
from django.forms import modelform_factory
from django.forms.models import fields_for_model, model_to_dict
from django.test.utils import isolate_apps
from rest_framework.serializers import ModelSerializer

from envelope_fields.crypto import format as layout
from envelope_fields.fields import EncryptedCharField
from envelope_fields.fields.conversion.attribute import MIRRORED
from envelope_fields.lifecycle import create_master_key
from envelope_fields.models import ColumnPhase
from tests.models.converting import (
    BoundVisit,
    Corridor,
    Latest,
    Visit,
    apps,
    by_corridor,
    set_phase,
)
from tests.models.tables import tables_of
from tests.stored import stored

pytestmark = pytest.mark.django_db(databases="__all__")
tables = tables_of(apps)

FIELD = Visit._meta.get_field("report")
PLAIN = Visit._meta.get_field("report_clear")


class TestTheFieldInClear:
    def test_is_what_was_declared(self):
        assert isinstance(PLAIN, models.TextField)
        assert PLAIN.deconstruct() == (
            "report_clear", "django.db.models.TextField", [], {"null": True, "db_column": "report"},
        )  # fmt: skip
        assert type(PLAIN).__name__ == "TextField"
        assert type(PLAIN.clone()) is models.TextField
        assert FIELD.plain_field is PLAIN

    def test_is_written_into_migrations_as_declared(self):
        written, _ = MigrationWriter.serialize(PLAIN)
        assert written == "models.TextField(db_column='report', null=True)"
        written, _ = MigrationWriter.serialize(FIELD)
        assert "converts='report_clear'" in written

    def test_that_it_is_converted_changes_no_column(self):
        assert "converts" in FIELD.non_db_attrs

    def test_a_copy_in_another_model_is_a_field_as_any_other(self):
        class Copied(models.Model):
            text = PLAIN.clone()

            class Meta:
                apps = apps
                app_label = "tests"

        assert type(Copied._meta.get_field("text")) is models.TextField
        del apps.all_models["tests"]["copied"]
        apps.clear_cache()

    def test_marks_hold_nothing(self):
        assert pickle.loads(pickle.dumps(MIRRORED)) is MIRRORED
        assert "secret" not in repr(vars(Visit(report="secret", title="x"))["report_clear"])


class TestForms:
    def test_have_the_encrypted_field_alone(self):
        assert "report" in fields_for_model(Visit)
        assert "report_clear" not in fields_for_model(Visit)

    def test_write_both(self, phase):
        form = modelform_factory(Visit, fields=["report", "title"])({"report": "x", "title": "y"})
        visit = form.save()
        assert visit.report == "x"
        assert (stored(visit, "report_clear") == "x") is phase.writes_old

    @isolate_apps("tests")
    @pytest.mark.parametrize("options", [{}, {"choices": [("a", "A")]}])
    def test_what_is_left_empty(self, options):
        """A text that took no NULL before takes none from a form, either."""

        class Text(models.Model):
            before = models.CharField(max_length=9, blank=True, **options)
            after_clear = models.CharField(max_length=9, null=True)
            after = EncryptedCharField(
                max_length=9, blank=True, null=True, default="", converts="after_clear", **options
            )
            null_clear = models.CharField(max_length=9, null=True)
            null = EncryptedCharField(max_length=9, blank=True, null=True, converts="null_clear")

            class Meta:
                app_label = "tests"

        form = modelform_factory(Text, fields="__all__")({"before": "", "after": "", "null": ""})
        assert form.is_valid()
        assert (form.instance.before, form.instance.after, form.instance.null) == ("", "", None)

    def test_model_to_dict(self, phase):
        Visit.objects.create(report="x")
        found = model_to_dict(Visit.objects.get())
        assert found["report"] == "x"
        assert "report_clear" not in found

    def test_validation_asks_one_field(self, phase):
        visit = Visit.objects.create(
            report=None, title="x", mirror="m", corridor=Corridor.objects.create(name="n")
        )
        visit.full_clean()
        Visit.objects.get().full_clean()


def test_rest_framework(phase):
    class VisitSerializer(ModelSerializer):
        class Meta:
            model = Visit
            fields = "__all__"

    visit = Visit.objects.create(report="x")
    assert "report_clear" not in VisitSerializer(visit).data
    assert VisitSerializer(visit).data["report"] == "x"
    given = VisitSerializer(visit, data={"report": "y"}, partial=True)
    given.is_valid(raise_exception=True)
    given.save()
    assert Visit.objects.get().report == "y"


class TestFixtures:
    def dumped(self):
        return serializers.serialize("json", Visit.objects.all())

    def test_have_an_envelope_and_nothing_in_clear(self, phase):
        Visit.objects.create(report="secret")
        text = self.dumped()
        [row] = json.loads(text)
        assert "secret" not in text
        assert "report_clear" not in row["fields"]
        assert layout.decode_text(row["fields"]["report"])

    @pytest.mark.parametrize("dumped_in", ColumnPhase)
    def test_are_loaded_in_every_phase(self, dumped_in, phase):
        set_phase(Visit, "report", dumped_in)
        Visit.objects.create(report="secret", pk=5)
        Visit.objects.create(report=None, pk=6)
        text = self.dumped()
        set_phase(Visit, "report", phase)
        for existing in (True, False):
            if not existing:
                Visit.objects.all().delete()
            for each in serializers.deserialize("json", text):
                each.save()
            assert [*Visit.objects.order_by("pk").values_list("report", flat=True)] == [
                "secret",
                None,
            ]
            row = Visit.objects.get(pk=5)
            assert (stored(row, "report_clear") == "secret") is phase.writes_old
            assert (stored(row, "report") is not None) is phase.writes_new

    def test_of_before_the_conversion(self, phase):
        text = json.dumps([{"model": "tests.visit", "pk": 5, "fields": {"report": "plain"}}])
        for each in serializers.deserialize("json", text):
            each.save()
        row = Visit.objects.get()
        assert row.report == "plain"
        assert (stored(row, "report_clear") == "plain") is phase.writes_old

    @pytest.fixture(autouse=True)
    def installed(self, monkeypatch):
        from django.apps import apps as installed

        monkeypatch.setitem(installed.all_models["tests"], "visit", Visit)
        monkeypatch.setattr(
            installed.get_app_config("tests"), "models", installed.all_models["tests"]
        )


class TestHistoricalModels:
    @pytest.fixture
    def historical(self):
        state = ProjectState()
        for model in (Corridor, Visit):
            state.add_model(ModelState.from_model(model))
        return state.apps.get_model("tests", "Visit")

    def test_write_and_read_as_those_of_today(self, historical, phase):
        row = historical.objects.create(report="x")
        today = Visit.objects.get(pk=row.pk)
        assert (stored(today, "report_clear") == "x") is phase.writes_old
        assert (stored(today, "report") is not None) is phase.writes_new
        assert historical.objects.get().report == "x"
        assert historical.objects.values_list("report", flat=True).get() == "x"
        historical.objects.update(report="y")
        assert Visit.objects.get().report == "y"
        loaded = historical.objects.get()
        loaded.report = "z"
        loaded.save()
        assert Visit.objects.get().report == "z"
        assert (stored(today, "report_clear") == "z") is phase.writes_old

    def test_that_lack_the_column_in_clear_read_what_is_encrypted(self, historical):
        set_phase(Visit, "report", "only")
        Visit.objects.create(report="x")
        state = ProjectState()
        state.add_model(ModelState.from_model(Corridor))
        bare = ModelState.from_model(Visit)
        del bare.fields["report_clear"]
        state.add_model(bare)
        assert state.apps.get_model("tests", "Visit").objects.get().report == "x"


class TestDefaults:
    @pytest.mark.parametrize("phase", ColumnPhase)
    def test_are_those_of_the_encrypted_field(self, phase):
        for name in ("report", "day", "score", "facts"):
            set_phase(Latest, name, phase)
        row = Latest.objects.create()
        assert (row.report, row.facts, row.score) == ("none yet", {}, None)
        loaded = Latest.objects.get()
        assert (loaded.report, loaded.facts, loaded.score) == ("none yet", {}, None)
        assert loaded.day == row.day is not None
        assert (stored(row, "report_clear") == "none yet") is phase.writes_old
        loaded.report = "x"
        loaded.save()
        assert Latest.objects.get().report == "x"


class TestRowsAndKeys:
    """Ways to write that have no row are refused from the start."""

    @pytest.fixture(params=ColumnPhase)
    def phase(self, request):
        for name in ("bound", "keyed"):
            set_phase(BoundVisit, name, request.param)
        return request.param

    @pytest.fixture
    def corridor(self):
        create_master_key("north")
        return Corridor.objects.create(name="north")

    @pytest.fixture
    def row(self, phase, corridor):
        return BoundVisit.objects.create(bound="b", keyed="k", corridor=corridor)

    def test_with_rows(self, row, phase):
        loaded = BoundVisit.objects.get()
        assert (loaded.bound, loaded.keyed) == ("b", "k")
        loaded.bound = "b2"
        loaded.save()
        loaded.keyed = "k2"
        BoundVisit.encrypted.bulk_update([loaded], ["keyed", "bound", "corridor"])
        loaded = BoundVisit.objects.get()
        assert (loaded.bound, loaded.keyed) == ("b2", "k2")
        assert (stored(row, "bound_clear"), stored(row, "keyed_clear")) == (
            ("b2", "k2") if phase.writes_old else (None, None)
        )

    @pytest.mark.parametrize("name", ["bound", "keyed"])
    def test_without(self, name, row, phase):
        row.bound = row.keyed = "x"
        for write in (
            lambda: BoundVisit.objects.update(**{name: "x"}),
            lambda: BoundVisit.objects.bulk_update([row], [name]),
        ):
            with pytest.raises(FieldError, match="save"), transaction.atomic():
                write()
        BoundVisit.objects.update(**{name: None})
        assert getattr(BoundVisit.objects.get(), name) is None

    def test_values_of_bound_fields_are_refused_from_the_start(self, row, phase):
        with pytest.raises(FieldError, match="bound"):
            list(BoundVisit.objects.values("bound"))
        assert by_corridor(row) == "north"
