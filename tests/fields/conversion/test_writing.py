"""Every way to write, in every phase: what is in each of the two columns."""

import html
import os

import pytest
from django.core.exceptions import FieldError
from django.db import DatabaseError, connection, transaction
from django.db.models import Case, F, Value, When
from django.db.models.functions import Upper
from django.test import RequestFactory

from envelope_fields.crypto import format as layout
from envelope_fields.models import ColumnPhase
from envelope_fields.reporting import EncryptedFieldsReporter, EncryptedFieldsReporterFilter
from tests.models.converting import LateVisit, LongVisit, Visit, apps, set_phase
from tests.models.tables import tables_of
from tests.stored import store, stored

pytestmark = pytest.mark.django_db(databases="__all__")
tables = tables_of(apps, "other")


def is_envelope(value):
    return isinstance(value, bytes) and bool(layout.parse(value))


def check(visit, phase, text, using=None):
    """Look at both columns of a row."""
    old, new = stored(visit, "report_clear", using), stored(visit, "report", using)
    assert old == (text if phase.writes_old else None)
    assert is_envelope(new) if phase.writes_new and text is not None else new is None
    loaded = Visit.objects.using(using or "default").get(pk=visit.pk)
    assert loaded.report == text
    assert loaded.report_clear == text


@pytest.fixture
def visit(phase):
    return Visit.objects.create(report="before", title="a")


def saved_alone(visit, secret):
    visit.report_clear = secret
    visit.save(update_fields=["report_clear"])


# Ways to write the column in clear by itself.
REFUSED = {
    "update": lambda visit, secret: Visit.objects.update(report_clear=secret),
    "create": lambda visit, secret: Visit.objects.create(report_clear=secret, report="y"),
    "save": saved_alone,
    "upsert": lambda visit, secret: Visit.objects.bulk_create(
        [Visit(pk=visit.pk, report=secret)],
        update_conflicts=True,
        update_fields=["report_clear"],
        unique_fields=None if connection.vendor == "mysql" else ["pk"],
    ),
}

FIELD = Visit._meta.get_field("report")


def save(visit):
    visit.report = "after"
    visit.save()


def save_by_the_other_name(visit):
    visit.report_clear = "after"
    visit.save()


def save_loaded(visit):
    loaded = Visit.objects.get()
    loaded.report = "after"
    loaded.save()


def save_field(visit):
    visit.report = "after"
    visit.save(update_fields=["report"])


def save_both(visit):
    visit.report = "after"
    visit.save(update_fields=["report_clear", "report"])


def save_deferred(visit):
    loaded = Visit.objects.only("title").get()
    loaded.report = "after"
    loaded.save()


def save_only(visit):
    loaded = Visit.objects.only("report").get()
    loaded.report = "after"
    loaded.save()


def save_proxy(visit):
    loaded = LateVisit.objects.get()
    loaded.report = "after"
    loaded.save()


def raw_save(visit):
    visit.report = "after"
    visit.save_base(raw=True)


def force_update(visit):
    visit.report = "after"
    visit.save(force_update=True)


def update(visit):
    Visit.objects.filter(pk=visit.pk).update(report="after", title="b")


def update_value(visit):
    Visit.objects.update(report=Value("after", output_field=FIELD))


def update_case(visit):
    Visit.objects.update(
        report=Case(
            When(title="a", then=Value("after", output_field=FIELD)),
            default=Value("other", output_field=FIELD),
        )
    )


def bulk_update(visit):
    visit.report = "after"
    Visit.objects.bulk_update([visit], ["report"])


def bulk_update_both(visit):
    visit.report = "after"
    Visit.objects.bulk_update([visit], ["report_clear", "report", "title"])


def bulk_update_with_rows(visit):
    visit.report = "after"
    Visit.encrypted.bulk_update([visit], ["report"])


def update_or_create(visit):
    Visit.objects.update_or_create(pk=visit.pk, defaults={"report": "after"})


def upsert(visit):
    Visit.objects.bulk_create(
        [Visit(pk=visit.pk, report="after")],
        update_conflicts=True, update_fields=["report"],
        **({} if connection.vendor == "mysql" else {"unique_fields": ["pk"]}),
    )  # fmt: skip


def refresh(visit):
    Visit.objects.update(report="after")
    visit.refresh_from_db()
    visit.save()


WAYS = [
    save, save_by_the_other_name, save_loaded, save_field, save_both, save_deferred, save_only,
    save_proxy, raw_save, force_update, update, update_value, update_case, bulk_update,
    bulk_update_both, bulk_update_with_rows, update_or_create, upsert, refresh,
]  # fmt: skip


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_row_that_is_there(way, visit, phase):
    way(visit)
    check(visit, phase, "after")


def create(**values):
    return Visit.objects.create(**values)


def instance_saved(**values):
    visit = Visit(**values)
    visit.save()
    return visit


def bulk_create(**values):
    visit, _ = Visit.objects.bulk_create([Visit(**values), Visit(report="another")])
    return visit if visit.pk else Visit.objects.get(title=values.get("title", ""))


def get_or_create(**values):
    visit, created = Visit.objects.get_or_create(title="new", defaults=values)
    assert created
    return visit


def raw_insert(**values):
    visit = Visit(pk=77, **values)
    visit.save_base(raw=True, force_insert=True)
    return visit


def copied(**values):
    visit = Visit.objects.get(pk=Visit.objects.create(**values).pk)
    visit.pk = None
    visit._state.adding = True
    visit.save()
    return visit


def as_a_child(**values):
    return Visit.objects.get(pk=LongVisit.objects.create(**values).pk)


INSERTS = [
    create, instance_saved, bulk_create, get_or_create, raw_insert, copied, as_a_child,
]  # fmt: skip


@pytest.mark.parametrize("way", INSERTS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("text", ["after", "", None])
def test_a_new_row(way, text, phase):
    check(way(report=text, title="n"), phase, text)


def test_null_is_written_into_both(visit, phase):
    visit.report = None
    visit.save()
    check(visit, phase, None)
    Visit.objects.update(report="x")
    Visit.objects.update(report=None)
    check(visit, phase, None)


class TestWhatIsLeftAlone:
    def test_other_fields_are_saved_without(self, visit, phase):
        before = stored(visit, "report"), stored(visit, "report_clear")
        loaded = Visit.objects.defer("report").get()
        loaded.title = "b"
        loaded.save()
        Visit.objects.update(title="c")
        loaded.save(update_fields=["title"])
        assert (stored(visit, "report"), stored(visit, "report_clear")) == before

    def test_a_value_that_was_not_looked_at(self, visit, phase):
        if not phase.reads_new:
            pytest.skip("it is a plain value, and saved as one")
        before = stored(visit, "report"), stored(visit, "report_clear")
        loaded = Visit.objects.get()
        loaded.title = "b"
        loaded.save()
        assert (stored(visit, "report"), stored(visit, "report_clear")) == before

    def test_a_damaged_value_stays_in_both(self, visit):
        set_phase(Visit, "report", "encrypted")
        store(visit, "report", b"\x01damaged")
        loaded = Visit.objects.get()
        loaded.save()
        assert stored(visit, "report") == b"\x01damaged"


class TestFromOnePhaseToAnother:
    @pytest.mark.parametrize("loaded_in", ColumnPhase)
    @pytest.mark.parametrize("saved_in", ColumnPhase)
    def test_nothing_is_lost(self, loaded_in, saved_in):
        """Loaded, and perhaps looked at, in one phase, and saved in another."""
        if loaded_in is ColumnPhase.ONLY and saved_in is not ColumnPhase.ONLY:
            pytest.skip("there is no way back")
        for look in (False, True):
            set_phase(Visit, "report", "both")
            visit = Visit.objects.create(report="text")
            set_phase(Visit, "report", loaded_in)
            loaded = Visit.objects.get(pk=visit.pk)
            if look:
                assert loaded.report == "text"
            set_phase(Visit, "report", saved_in)
            loaded.title = "b"
            loaded.save()
            if saved_in is ColumnPhase.ONLY and loaded_in.reads_new and not look:
                # Both columns stay: what is in clear may be an old build's, and a job empties it.
                assert stored(visit, "report_clear") == "text"
                assert Visit.objects.get(pk=visit.pk).report == "text"
            else:
                check(visit, saved_in, "text")


class TestRefused:
    def test_the_column_in_clear_by_itself(self, visit):
        for write in (
            lambda: Visit.objects.update(report_clear="x"),
            lambda: Visit.objects.update(report_clear=None),
            lambda: Visit.objects.update(report="x", report_clear="x"),
            lambda: Visit.objects.update(report_clear=F("title")),
            lambda: Visit.objects.bulk_update([visit], ["report_clear"]),
            lambda: visit.save(update_fields=["report_clear"]),
            lambda: Visit.objects.bulk_create(
                [Visit(pk=visit.pk, report="x")], update_conflicts=True,
                update_fields=["report_clear"],
                **({} if connection.vendor == "mysql" else {"unique_fields": ["pk"]}),
            ),
        ):  # fmt: skip
            with pytest.raises(FieldError, match="Write report instead"), transaction.atomic():
                write()

    def test_expressions_from_the_start(self, visit, phase):
        for expression in (
            F("title"),
            F("report"),
            F("report_clear"),
            Value("plain"),
            Upper(Value("plain")),
            Case(When(title="a", then=Value("plain")), default=F("report_clear")),
        ):
            with pytest.raises(FieldError), transaction.atomic():
                Visit.objects.update(report=expression)
            visit.report = expression
            with pytest.raises((FieldError, ValueError)), transaction.atomic():
                visit.save()
        check(visit, phase, "before")

    def test_the_value_of_the_field_copied_elsewhere(self, visit):
        for name in ("report", "report_clear"):
            with pytest.raises(FieldError), transaction.atomic():
                Visit.objects.update(mirror=F(name))

    def test_two_values_for_one(self, phase):
        for values in ({"report_clear": "x"}, {"report_clear": "x", "report": "y"}):
            with pytest.raises(FieldError, match="Write report instead"), transaction.atomic():
                Visit.objects.create(**values)
        assert not Visit.objects.exists()

    def test_the_same_value_for_both(self, phase):
        check(Visit.objects.create(report_clear="x", report="x"), phase, "x")

    @pytest.mark.parametrize("write", REFUSED)
    def test_no_error_has_the_value(self, visit, write, monkeypatch):
        """Nor has its report, with the variables of all frames."""
        monkeypatch.setattr("envelope_fields.reporting.secrets.apps", apps)
        secret = os.urandom(8).hex()
        with pytest.raises(FieldError) as caught, transaction.atomic():
            REFUSED[write](visit, secret)
        assert secret not in str(caught.value)
        package = f"{os.sep}envelope_fields{os.sep}"
        ours = [each.frame for each in caught.traceback if package in str(each.path)]
        assert [frame for frame in ours if secret in repr(frame.f_locals)] == []
        reporter = EncryptedFieldsReporter(
            RequestFactory().get("/"), caught.type, caught.value, caught.tb.tb_next
        )
        reporter.filter = EncryptedFieldsReporterFilter()
        report = reporter.get_traceback_html() + reporter.get_traceback_text()
        assert "Write report instead" in html.unescape(report)
        assert secret not in report


class TestOtherDatabases:
    def test_one_phase_for_all(self, phase):
        visit = Visit.objects.create(report="x")
        other = Visit.objects.using("other").create(report="x")
        check(visit, phase, "x")
        check(other, phase, "x", "other")

    def test_saved_into_another(self, phase):
        visit = Visit.objects.create(report="x")
        for row in (visit, Visit.objects.get()):
            row.save(using="other")
            check(row, phase, "x", "other")


def test_an_update_of_no_row_is_an_error(visit):
    visit.delete()
    visit.pk = 99
    with pytest.raises(DatabaseError):
        visit.save(update_fields=["report"])


def test_a_row_that_is_gone_is_inserted_again(visit, phase):
    loaded = Visit.objects.get()
    Visit.objects.all().delete()
    loaded.save()
    check(loaded, phase, "before")


def test_code_beside_django_writes_neither_column(phase, visit):
    field = Visit._meta.get_field("report")
    with pytest.raises((FieldError, DatabaseError)), transaction.atomic():
        prepared = field.get_db_prep_save("after", connection)
        with connection.cursor() as cursor:
            column = connection.ops.quote_name(field.column)
            cursor.execute(f"UPDATE {Visit._meta.db_table} SET {column} = %s", [prepared])
    check(visit, phase, "before")
