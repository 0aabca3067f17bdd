"""Columns in clear that become encrypted: W092, W093, W094 and W101."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import models
from django.utils import timezone

from envelope_fields.fields import EncryptedTextField
from envelope_fields.models import AuditEvent, ColumnConversion

pytestmark = [pytest.mark.any_database, pytest.mark.django_db]


def row(phase, field="tests.Visit.report", kind="column", **ago):
    model, _, name = field.rpartition(".")
    return ColumnConversion.objects.create(
        model=model, field=name, kind=kind, phase=phase,
        changed_at=timezone.now() - timedelta(**ago),
    )  # fmt: skip


class Moving(models.Model):
    report_clear = models.TextField(null=True, editable=False, db_column="report")
    report = EncryptedTextField(null=True, converts="report_clear", db_column="report_encrypted")

    class Meta:
        abstract = True


@pytest.fixture
def visit(registry):
    class Visit(Moving):
        class Meta:
            app_label = "tests"

    return Visit


def test_that_has_not_begun(visit, report):
    [message] = report()
    assert message.id == "envelope_fields.W093"
    assert "its values are in clear: the conversion has not begun" in message.msg
    row("clear", days=1)
    assert [each.id for each in report()] == ["envelope_fields.W093"]


@pytest.mark.parametrize("phase", ["both", "filling", "verified", "encrypted"])
def test_that_is_in_a_phase_for_long(visit, ids, report, phase):
    found = row(phase, days=6)
    assert ids() == []
    found.changed_at -= timedelta(days=2)
    found.save()
    assert ids() == ([] if phase == "encrypted" else ["W093"])
    found.changed_at -= timedelta(days=30)
    found.save()
    [message] = report()
    assert message.id == "envelope_fields.W093"
    assert f"it is {phase} since {found.changed_at:%Y-%m-%d}" in message.msg


def test_that_is_over(visit, ids):
    row("only")
    assert ids() == ["W094"]


@pytest.mark.parametrize("kind", ["legacy", "column"])
def test_without_a_field(registry, ids, report, kind):
    row("finished" if kind == "legacy" else "only", "tests.Gone.report", kind)
    [message] = report()
    assert message.id == "envelope_fields.W092"
    assert "tests.Gone.report is" in message.msg
    assert "no encrypted field has this name" in message.msg


@pytest.mark.parametrize(("phase", "expected"), [("both", ["W092"]), ("only", []), ("clear", [])])
def test_of_a_field_that_does_not_move(registry, ids, phase, expected):
    class Visit(models.Model):
        report = EncryptedTextField(null=True)

        class Meta:
            app_label = "tests"

    row(phase)
    assert ids() == expected


def test_of_another_model_of_the_table(visit, report):
    class Twin(Moving):
        class Meta:
            app_label = "tests"
            managed = False
            db_table = visit._meta.db_table

    row("only", "tests.Twin.report")
    row("both")
    found = {each.id: each.msg for each in report()}
    assert "its table is converted as tests.Visit.report" in found["envelope_fields.W092"]
    assert "envelope_fields.W093" not in found
    assert "envelope_fields.W101" not in found


@pytest.mark.parametrize(
    "field",
    [
        models.TextField(null=True, db_column="report"),
        EncryptedTextField(null=True, db_column="report_encrypted"),
    ],
)
def test_model_that_shows_one_of_the_columns(visit, report, field):
    class View(models.Model):
        words = field.clone()

        class Meta:
            app_label = "tests"
            managed = False
            db_table = visit._meta.db_table

    row("both")
    [message] = [each for each in report() if each.id == "envelope_fields.W101"]
    assert "tests.View.words is a column of tests.Visit.report" in message.msg
    assert "Make it a proxy of tests.Visit" in message.hint


def test_proxy_and_children(visit, ids):
    class Proxy(visit):
        class Meta:
            app_label = "tests"
            proxy = True

    class Child(visit):
        class Meta:
            app_label = "tests"

    row("both")
    assert ids() == []


@pytest.mark.django_db(databases="__all__")
class TestCommand:
    def run(self, *arguments):
        out = StringIO()
        call_command("conversions", *arguments, stdout=out)
        return out.getvalue()

    def test_renames(self):
        row("finished", "tests.Gone.text", "legacy")
        self.run("--rename=tests.Gone.text=tests.Letter.text")
        assert ColumnConversion.objects.get().model == "tests.Letter"
        event = AuditEvent.objects.latest("number")
        assert (event.action, event.after) == ("rename_conversion", {"field": "tests.Letter.text"})

    def test_forgets(self):
        row("only", "tests.Gone.text")
        self.run("--forget=tests.Gone.text")
        assert not ColumnConversion.objects.exists()
        event = AuditEvent.objects.latest("number")
        assert (event.action, event.before["phase"]) == ("forget_conversion", "only")

    @pytest.mark.parametrize(
        ("arguments", "problem"),
        [
            (["--forget=tests.Letter.text"], "is a field, and goes by this conversion"),
            (["--forget=tests.Nothing.text"], "There is no conversion of"),
            (["--rename=tests.Gone.text=tests.Gone.words"], "No encrypted field is named"),
            (["--rename=tests.Gone.text=tests.Letter.text"], "a conversion of its own"),
            (["--rename=tests.Letter.text=tests.Note.text"], "is a field"),
        ],
    )
    def test_refuses(self, arguments, problem):
        row("finished", "tests.Letter.text", "legacy")
        row("finished", "tests.Gone.text", "legacy")
        with pytest.raises(CommandError, match=problem):
            self.run(*arguments)
        assert ColumnConversion.objects.count() == 2
