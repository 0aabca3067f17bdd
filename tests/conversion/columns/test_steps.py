"""A column in clear becomes an encrypted one, phase by phase, or goes back."""

import json
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from django.db import connection
from django.db.models import JSONField, Value
from django.test.utils import CaptureQueriesContext

from envelope_fields.conversion import column_phases, runs
from envelope_fields.conversion.column_phases import moving_field, phase_now
from envelope_fields.conversion.counts import Counted, counted
from envelope_fields.conversion.single_steps import take_step
from envelope_fields.conversion.steps import Steps
from envelope_fields.crypto import format as layout
from envelope_fields.exceptions import KeyAccessDenied
from envelope_fields.jobs.throttle import NICE_RATIO
from envelope_fields.lifecycle import create_master_key
from envelope_fields.models import AuditEvent, ColumnConversion, ColumnPhase, MasterKey, RotationRun
from envelope_fields.policy import acting_as
from tests.management import command
from tests.models import Note, moving
from tests.models.moving import Everything, OldEverything, OldVisit, Visit
from tests.models.tables import tables_of
from tests.stored import store, stored

pytestmark = pytest.mark.django_db(databases="__all__")
tables = tables_of(moving.apps, "other")

LABEL = "moving.Visit.report"


@pytest.fixture
def field():
    return moving_field(LABEL)


def convert(to, *arguments, label=LABEL):
    return command("convert_field", label, f"--to={to}", *arguments)


def old_rows(count=5, using="default"):
    OldVisit.objects.using(using).bulk_create(
        OldVisit(report=f"report {number}") for number in range(count)
    )
    OldVisit.objects.using(using).create(report=None)


def envelopes():
    return [stored(row, "report") for row in Visit.objects.order_by("pk")]


class TestForwards:
    def test_each_phase(self, field):
        old_rows()
        for phase in ColumnPhase:
            out, error = convert(phase)
            assert error == ""
            assert phase_now(field) == phase
            assert f"{LABEL}: {phase}" in out
            if phase in ("clear", "both"):
                assert envelopes() == [None] * 6
            elif phase != "only":
                assert counted(field) == Counted(5, 5, 0)
        assert counted(field) == Counted(0, 5, 5)
        assert all(value.startswith(b"\x01") for value in envelopes()[:5])
        assert list(OldVisit.objects.values_list("report", flat=True)) == [None] * 6

    def test_by_way_of_those_between(self, field):
        old_rows()
        out, error = convert("encrypted")
        assert error == ""
        assert [line for line in out.splitlines() if line.endswith(("both.", "filling."))]
        assert "5 rows opened and compared: 0 differed, 0 left" in out
        assert phase_now(field) == "encrypted"

    @pytest.mark.parametrize("phase", list(ColumnPhase)[:-1])
    def test_again_does_nothing(self, field, phase):
        old_rows()
        convert(phase)
        before, runs = envelopes(), RotationRun.objects.count()
        _out, error = convert(phase)
        assert (error, envelopes(), RotationRun.objects.count()) == ("", before, runs)

    def test_the_last_one_is_a_step_of_its_own(self, field):
        old_rows()
        _out, error = convert("only")
        assert "moving.Visit.report is clear, and the step to only is final" in error
        assert phase_now(field) == "clear"

    @pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has one lock")
    def test_rows_are_locked_when_they_are_looked_at_again(self, field, monkeypatch):
        """Also by a server that cannot leave out those that others have locked (MariaDB 10.5)."""
        old_rows()
        features = connection.features
        monkeypatch.setattr(features, "has_select_for_update_skip_locked", False)
        with CaptureQueriesContext(connection) as queries:
            convert("filling")
        locking = [each["sql"] for each in queries if each["sql"].endswith("FOR UPDATE")]
        assert [sql for sql in locking if "report_encrypted" in sql]
        assert counted(field) == Counted(5, 5, 0)

    def test_runs_rest_unless_they_are_told_otherwise(self, field):
        old_rows()
        convert("filling")
        assert RotationRun.objects.get().limits["nice_ratio"] == NICE_RATIO
        convert("verified", "--nice-ratio=0")
        assert RotationRun.objects.latest("created_at").limits["nice_ratio"] == 0

    def test_all_databases(self, field):
        old_rows(3)
        old_rows(4, "other")
        _, error = convert("encrypted")
        assert error == ""
        assert counted(field) == Counted(7, 7, 0)

    def test_dry_run_writes_nothing(self, field):
        old_rows()
        out, error = convert("encrypted", "--dry-run")
        assert error == ""
        assert "5 values in clear, 0 envelopes, 5 rows with one alone" in out
        assert "to fill takes about a second, to compare about a second" in out
        assert not ColumnConversion.objects.exists()
        assert not RotationRun.objects.exists()
        assert envelopes() == [None] * 6

    def test_json(self, field):
        old_rows()
        out, error = convert("verified", "--json")
        assert error == ""
        content = json.loads(out)
        assert content["phase"] == "verified"
        assert (content["clear"], content["envelopes"], content["remaining"]) == (5, 5, 0)
        assert [run["kind"] for run in content["runs"]] == ["fill", "compare"]

    def test_column_that_is_gone(self, field, monkeypatch):
        """A deployment may go on saying it."""
        old_rows()
        convert("encrypted")
        convert("only")
        monkeypatch.setattr(field, "converts", None)
        monkeypatch.delitem(vars(field), "_plain_field", raising=False)
        assert convert("only") == (f"{LABEL}: only, and its column in clear is gone.\n", "")
        assert json.loads(convert("only", "--json")[0])["phase"] == "only"
        for phase in ("clear", "verified"):
            assert "Nor does it have converts=" in convert(phase)[1]

    def test_phase_of_the_other_kind(self):
        assert "--to is one of clear, both" in convert("finished")[1]

    def test_events(self, field):
        old_rows()
        convert("encrypted")
        events = AuditEvent.objects.filter(action="change_conversion_phase").order_by("number")
        assert [event.after["phase"] for event in events] == [
            "both", "filling", "verified", "encrypted",
        ]  # fmt: skip


def test_who_may_not_take_a_step_is_not_told_how_far_it_is(field, django_user_model):
    old_rows()
    convert("filling")
    MasterKey.objects.filter(alias="default").update(managed_by="customer")
    user = django_user_model.objects.create(username="u")
    with acting_as(user), pytest.raises(KeyAccessDenied):
        take_step(field, ColumnPhase.FILLING, ColumnPhase.VERIFIED)


class TestBack:
    @pytest.mark.parametrize("phase", list(ColumnPhase)[1:-1])
    def test_from_each_phase(self, field, phase):
        old_rows()
        convert(phase)
        _out, error = convert("clear")
        assert (error, phase_now(field)) == ("", "clear")
        assert OldVisit.objects.filter(report__isnull=False).count() == 5

    def test_from_encrypted_all_read_the_old_column_before_any_writes_it_alone(self, field):
        old_rows()
        convert("encrypted")
        out, _error = convert("clear")
        assert [line for line in out.splitlines() if "every process" not in line][:2] == [
            f"{LABEL}: verified.", f"{LABEL}: clear.",
        ]  # fmt: skip

    def test_not_from_the_last(self, field):
        old_rows()
        convert("encrypted")
        convert("only")
        assert "there is no way back" in convert("clear")[1]
        assert phase_now(field) == "only"

    def test_and_on_again(self, field):
        """What was written meanwhile is found by comparing."""
        old_rows()
        convert("encrypted")
        convert("clear")
        OldVisit.objects.filter(report="report 3").update(report="changed")
        OldVisit.objects.filter(report="report 4").update(report=None)
        out, error = convert("encrypted")
        assert error == ""
        assert "1 differed, 0 left" in out
        assert counted(field) == Counted(4, 4, 0)


@pytest.mark.parametrize("phase", list(ColumnPhase)[:-1])
def test_a_phase_from_before_the_old_column_was_emptied_takes_no_value(field, phase, monkeypatch):
    """As where the database of the keys alone is restored, and the audit trail with it."""
    monkeypatch.setattr("envelope_fields.keyring.conversions._recorded", lambda events: {})
    old_rows()
    convert("encrypted")
    convert("only")
    before = envelopes()
    ColumnConversion.objects.update(phase=phase)

    assert "this would take away what is in the new one (envelopes: 5)" in convert("encrypted")[1]
    assert convert("only")[1]

    assert envelopes() == before
    ColumnConversion.objects.update(phase="only")
    assert Visit.objects.order_by("pk")[0].report == "report 0"


def written_before_the_switch(monkeypatch, report):
    """Have an old build write after the last comparison, and before the phase is changed."""
    change = column_phases.change_phase

    def changed(field, expected, to, **options):
        if (expected, to) == ("verified", "encrypted"):
            OldVisit.objects.filter(report="report 3").update(report=report)
        return change(field, expected, to, **options)

    monkeypatch.setattr("envelope_fields.conversion.column_phases.change_phase", changed)


class TestOldBuild:
    """A build that knows the old column alone."""

    @pytest.mark.parametrize("phase", list(ColumnPhase)[1:-1])
    def test_what_it_has_written_is_noticed_and_filled(self, field, phase):
        old_rows()
        convert(phase)
        OldVisit.objects.filter(report="report 3").update(report="of the old build")
        OldVisit.objects.create(report="a new one")
        for _ in range(2):
            _out, error = convert("encrypted")
        assert error == ""
        assert phase_now(field) == "encrypted"
        if phase != "encrypted":
            assert counted(field) == Counted(6, 6, 0)

    def test_the_switch_is_refused_while_it_writes(self, field, monkeypatch):
        old_rows()
        convert("verified")
        written = iter(range(100))

        def write():
            OldVisit.objects.filter(pk=OldVisit.objects.earliest("pk").pk).update(
                report=f"again {next(written)}"
            )

        original = runs.start
        monkeypatch.setattr(
            "envelope_fields.conversion.runs.start",
            lambda *args, **options: (write(), original(*args, **options))[1],
        )
        _out, error = convert("encrypted")
        assert "1 row differed and had to be filled again: an old build" in error
        assert phase_now(field) == "verified"
        monkeypatch.undo()

    def test_what_it_writes_between_the_comparison_and_the_switch(self, field, monkeypatch):
        """It is found right after the switch, which is taken back: the old column has it."""
        old_rows()
        convert("verified")
        with monkeypatch.context() as patched:
            written_before_the_switch(patched, "written in between")
            out, error = convert("encrypted")
        assert "1 row differed and had to be filled again: an old build" in error
        assert "So that is read again, and the field is verified. End that" in error
        assert phase_now(field) == "verified"
        assert "in between" not in out + error
        assert Visit.objects.filter(report="written in between").count() == 1
        assert convert("encrypted")[1] == ""
        assert sorted(each.report or "" for each in Visit.objects.all())[-1] == "written in between"

    def test_that_the_command_was_killed_after_the_switch(self, field, monkeypatch):
        old_rows()
        convert("verified")
        with monkeypatch.context() as patched:
            written_before_the_switch(patched, "written in between")
            patched.setattr(Steps, "_compare_since_switch", lambda steps: None)
            assert convert("encrypted")[1] == ""
        _, error = convert("encrypted")
        assert "the field is verified" in error

    def test_what_it_writes_while_the_encrypted_column_is_read(self, field):
        old_rows()
        convert("encrypted")
        OldVisit.objects.filter(report="report 3").update(report="of the old build")
        assert "the field is verified" in convert("only")[1]
        assert Visit.objects.filter(report="of the old build").exists()
        assert convert("encrypted")[1] == convert("only")[1] == ""

    def test_what_it_writes_in_the_last_phase_is_listed_and_stays(self, field, monkeypatch):
        old_rows()
        convert("encrypted")
        change = column_phases.change_phase

        def changed(*args, **options):
            found = change(*args, **options)
            OldVisit.objects.filter(report="report 3").update(report="a secret of the old build")
            return found

        monkeypatch.setattr("envelope_fields.conversion.column_phases.change_phase", changed)
        out, error = convert("only")
        assert "4 values emptied, 1 failed" in out
        assert "WrittenByOldBuild" in error
        assert "secret" not in out + error
        row = OldVisit.objects.get(report__isnull=False)
        assert f"{LABEL} {row.pk}: " in error
        assert row.report == "a secret of the old build"


UNREADABLE = {
    "postgresql": {"day": "'0044-03-15 BC'", "clock": "'24:00:00'"},
    "mysql": {"day": "'2020-00-00'", "clock": "'30:00:01'"},
    "sqlite": {
        "day": "'0000-00-00'", "clock": "'late'", "number": "1.625",
        "code": "CAST(x'ff41' AS TEXT)",
    },
}  # fmt: skip


class TestRows:
    def test_what_cannot_be_converted_is_listed_without_its_value(self, field):
        old_rows(2)
        envelope = layout.encode_text(stored(Note.objects.create(text="a", data=None), "text"))
        bad = OldVisit.objects.create(report=envelope)
        out, error = convert("verified")
        assert "2 values filled, 1 failed" in out
        assert f"{LABEL} {bad.pk}: UnreadableValue" in error
        assert "the old column holds what this field does not store (FieldError)" in error
        assert envelope not in out + error
        assert phase_now(field) == "filling"

    @pytest.mark.parametrize("name", ["day", "number", "clock", "code"])
    def test_what_is_not_read_is_listed_without_its_value(self, name):
        """By the driver, or by the field: the application does not read it, either."""
        wrong = UNREADABLE[connection.vendor].get(name)
        if wrong is None:
            pytest.skip("this database stores no such value")
        right = [OldEverything.objects.create(**{name: VALUES[name][0]}) for _ in range(2)]
        bad = OldEverything.objects.create()
        with connection.cursor() as cursor:
            if connection.vendor == "mysql":
                cursor.execute("SET SESSION sql_mode = ''")
            column = connection.ops.quote_name(name)
            cursor.execute(f"UPDATE moving_everything SET {column} = {wrong} WHERE id = {bad.pk}")
        label = f"moving.Everything.{name}"
        out, error = convert("verified", label=label)
        assert "2 values filled, 1 failed" in out
        assert f"{label} {bad.pk}: UnreadableValue" in error
        assert "Correct it there" in error
        assert wrong.strip("'") not in out + error
        OldEverything.objects.filter(pk=bad.pk).update(**{name: None})
        assert convert("encrypted", label=label)[1] == ""
        assert all(getattr(Everything.objects.get(pk=row.pk), name) is not None for row in right)

    @pytest.mark.skipif("connection.vendor != 'postgresql'", reason="no tables that inherit")
    @pytest.mark.parametrize("phase", ["filling", "verified"])
    def test_that_share_a_primary_key_keep_their_values(self, field, phase):
        """A table that inherits has keys of its own."""
        with connection.cursor() as cursor:
            cursor.execute('CREATE TABLE heir () INHERITS ("Moving Visits")')
        OldVisit.objects.create(pk=1, report="one")
        convert("filling" if phase == "verified" else "both")
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO heir (id, report, ward) VALUES (1, 'uno', '')")
        error = convert(phase)[1]
        assert "Visit.report: rows share their primary keys, such as 1, and" in error
        assert sorted(OldVisit.objects.values_list("report", flat=True)) == ["one", "uno"]
        with connection.cursor() as cursor:
            cursor.execute("UPDATE heir SET id = 2")
        for each in ("encrypted", "only"):
            assert convert(each)[1] == ""
        assert [visit.report for visit in Visit.objects.order_by("pk")] == ["one", "uno"]

    def test_envelope_that_does_not_open_is_filled_again(self, field):
        old_rows(2)
        convert("verified")
        row = Visit.objects.earliest("pk")
        envelope = stored(row, "report")
        store(row, "report", envelope[:-1] + bytes([envelope[-1] ^ 1]))
        out, error = convert("encrypted")
        assert error == ""
        assert "1 differ" in out

    def test_bound_to_the_row(self):
        moving.OldBoundVisit.objects.create(report="one", ward="A")
        moving.OldBoundVisit.objects.create(report="two", ward="B")
        label = "moving.BoundVisit.report"
        assert convert("encrypted", label=label)[1] == ""
        rows = moving.BoundVisit.objects.order_by("pk")
        first, second = [stored(row, "report") for row in rows]
        store(rows[1], "report", first)
        out, error = convert("verified", label=label)
        out, error = convert("encrypted", label=label)
        assert error == ""
        assert "1 differ" in out
        assert stored(rows[1], "report") not in (first, second)

    def test_key_of_the_row(self):
        for ward in "AB":
            create_master_key(f"ward-{ward}")
            moving.OldKeyedVisit.objects.create(report=f"of {ward}", ward=ward)
        label = "moving.KeyedVisit.report"
        assert convert("encrypted", label=label)[1] == ""
        versions = {stored(row, "report")[1:9] for row in moving.KeyedVisit.objects.all()}
        assert len(versions) == 2

    def test_key_of_the_row_that_is_not_there(self):
        rows = [moving.OldKeyedVisit.objects.create(report=f"of {w}", ward=w) for w in "CD"]
        create_master_key("ward-C")
        _, error = convert("encrypted", label="moving.KeyedVisit.report")
        assert f"moving.KeyedVisit.report {rows[1].pk}: MasterKeyNotFound" in error


VALUES = {
    "number": [-(2**31), 0, 2**31 - 1],
    "code": ["", "a", "é" * 50],
    "blob": [b"", b"\x01\x00", bytes(range(256))],
    "flag": [True, False],
    "day": [date(1, 1, 1), date(9999, 12, 31)],
    "moment": [datetime(2020, 2, 29, 12, 30, 59, 123456, tzinfo=UTC)],
    "clock": [time(0), time(23, 59, 59, 999999)],
    "length": [timedelta(0), timedelta(days=-1, microseconds=1)],
    "price": [Decimal("0.001"), Decimal("-999999.999"), Decimal(5)],
    "share": [0.1, -1e300, 5e-324],
    "address": ["192.0.2.1", "2001:db8::1"],
    "data": [{"b": [1, 2.0, True, None], "a": "é"}, [], 0, False, "x", 1e5],
    "mark": [UUID(int=0), UUID(int=2**128 - 1)],
}


class TestTypes:
    @pytest.mark.parametrize("name", sorted(VALUES))
    def test_values(self, name):
        rows = [OldEverything.objects.create(**{name: value}) for value in VALUES[name]]
        if name == "data":
            rows.append(OldEverything.objects.create(data=Value(None, JSONField())))
        label = f"moving.Everything.{name}"
        out, error = convert("encrypted", label=label)
        assert error == ""
        assert "opened and compared: 0 differed, 0 left" in out
        field = moving_field(label)
        for row in rows:
            row.refresh_from_db()
            new = Everything.objects.get(pk=row.pk)
            read = field.verifier(stored(new, name), None, None)
            assert read == getattr(row, name)


def test_both_columns_are_rounded_alike():
    """PostgreSQL and MariaDB round a half away from zero, and the field to the even digit."""
    label, half = "moving.Everything.price", Decimal("1.2345")
    convert("filling", label=label)
    for row in Everything.objects.create(price=half), Everything.objects.create():
        Everything.objects.filter(pk=row.pk).update(price=half)
    out, error = convert("encrypted", label=label)
    assert (error, "differ" in out.replace(" 0 differ", "")) == ("", False)
    assert {row.price for row in Everything.objects.all()} == {Decimal("1.234")}
    assert set(OldEverything.objects.values_list("price", flat=True)) == {Decimal("1.234")}


def test_what_an_old_build_has_written_at_last_stays_until_the_field_is_written():
    old_rows(1)
    convert("encrypted")
    convert("only")
    OldVisit.objects.filter(report=None).delete()
    visit = Visit.objects.create(report="ours")
    OldVisit.objects.filter(pk=visit.pk).update(report="of an old build")
    untouched = Visit.objects.get(pk=visit.pk)
    untouched.ward = "3"
    untouched.save()
    assert OldVisit.objects.get(pk=visit.pk).report == "of an old build"
    assert "1 row failed" in convert("only")[1]
    untouched.report = "of an old build"
    untouched.save()
    assert OldVisit.objects.get(pk=visit.pk).report is None
