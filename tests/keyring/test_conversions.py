"""How far conversions of columns are, as one process knows it."""

import pytest
from django.db import connections, transaction

from envelope_fields import audit
from envelope_fields.exceptions import MasterKeyUnusable
from envelope_fields.keyring import conversions
from envelope_fields.keyring.conversions import conversion_phase, is_finished
from envelope_fields.models import AuditEvent, ColumnConversion, ColumnPhase, ConversionKind
from envelope_fields.policy import APPLICATION

pytestmark = pytest.mark.django_db(databases="__all__")

NAMES = {"model": "clinic.Visit", "field": "report", "kind": ConversionKind.COLUMN}


def phase(field="report"):
    return conversion_phase("clinic.Visit", field)


def test_without_a_row_it_has_not_begun():
    assert phase() is ColumnPhase.CLEAR


def test_a_legacy_format_in_the_same_column_has_no_phase_of_this_kind():
    names = {**NAMES, "kind": ConversionKind.LEGACY}
    ColumnConversion.objects.create(**names, phase="finished", finished_at="2026-11-28T00:00Z")
    assert phase() is ColumnPhase.CLEAR
    assert is_finished("clinic.Visit", "report")


@pytest.mark.parametrize("finished_at", [None, "2026-11-28T00:00Z"])
def test_another_kind_is_not_known(finished_at):
    """Or the column would be read and written in clear."""
    names = {**NAMES, "kind": "colvmn", "phase": ColumnPhase.ONLY}
    ColumnConversion.objects.create(**names, finished_at=finished_at)
    with pytest.raises(MasterKeyUnusable, match="restore the row"):
        phase()


@pytest.mark.parametrize("name", ColumnPhase.values)
def test_a_column_in_clear_is_no_legacy_format(name):
    ColumnConversion.objects.create(**NAMES, phase=name, finished_at="2026-11-28T00:00Z")
    assert not is_finished("clinic.Visit", "report")
    assert phase() == name


@pytest.mark.parametrize(
    ("name", "reads_new", "writes_old", "writes_new"),
    [
        ("clear", False, True, False),
        ("both", False, True, True),
        ("filling", False, True, True),
        ("verified", False, True, True),
        ("encrypted", True, True, True),
        ("only", True, False, True),
    ],
)
def test_what_a_phase_reads_and_writes(name, reads_new, writes_old, writes_new):
    found = ColumnPhase(name)
    assert (found.reads_new, found.writes_old, found.writes_new) == (
        reads_new, writes_old, writes_new,
    )  # fmt: skip


class TestChanges:
    def test_are_known_at_once_in_the_process_that_makes_them(self):
        assert phase() is ColumnPhase.CLEAR
        row = ColumnConversion.objects.create(**NAMES, phase="both")
        assert phase() is ColumnPhase.BOTH
        ColumnConversion.objects.filter(pk=row.pk).update(phase="filling")
        assert phase() is ColumnPhase.FILLING

    def test_that_are_rolled_back_leave_nothing(self):
        with transaction.atomic():
            ColumnConversion.objects.create(**NAMES, phase="encrypted")
            assert phase() is ColumnPhase.ENCRYPTED
            transaction.set_rollback(True)
        assert phase() is ColumnPhase.CLEAR


@pytest.mark.django_db(transaction=True)
def test_no_query_while_it_is_known(django_assert_num_queries):
    ColumnConversion.objects.create(**NAMES, phase="both")
    assert phase() is ColumnPhase.BOTH
    with django_assert_num_queries(0):
        assert phase() is ColumnPhase.BOTH
        assert phase(field="notes") is ColumnPhase.CLEAR
    ColumnConversion.objects.all().delete()


class TestARowThatWasChangedInTheDatabase:
    """Or what was encrypted alone would be written in clear again."""

    @pytest.fixture
    def row(self):
        row = ColumnConversion.objects.create(**NAMES, phase=ColumnPhase.ONLY)
        for reached in (ColumnPhase.BOTH, ColumnPhase.CLEAR, ColumnPhase.ONLY):
            happened("change_conversion_phase", field="clinic.Visit.report", phase=reached.value)
        return row

    @pytest.mark.parametrize(
        "changed",
        [{"model": "clinic.Other"}, {"field": "other"}, {"kind": ConversionKind.LEGACY},
         {"phase": ColumnPhase.CLEAR}, {"phase": ColumnPhase.ENCRYPTED}],
    )  # fmt: skip
    def test_is_known_by_the_audit_trail(self, row, changed):
        assert phase() is ColumnPhase.ONLY
        ColumnConversion.objects.update(**changed)
        with pytest.raises(MasterKeyUnusable, match="brought to only"):
            phase()
        assert phase("comment") is ColumnPhase.CLEAR

    def test_is_lost(self, row):
        row.delete()
        with pytest.raises(MasterKeyUnusable, match=r"Put the row .* back"):
            phase()
        ColumnConversion.objects.create(**NAMES, phase=ColumnPhase.ONLY)
        assert phase() is ColumnPhase.ONLY

    def test_has_another_name(self, row):
        ColumnConversion.objects.update(field="comment")
        happened(
            "rename_conversion", {"field": "clinic.Visit.report"}, field="clinic.Visit.comment"
        )
        assert (phase(), phase("comment")) == (ColumnPhase.CLEAR, ColumnPhase.ONLY)

    def test_was_forgotten(self, row):
        row.delete()
        happened("forget_conversion", {"field": "clinic.Visit.report", "phase": "only"})
        assert phase() is ColumnPhase.CLEAR

    def test_is_further_than_the_trail(self, row):
        """As where a fixture was loaded."""
        happened("change_conversion_phase", field="clinic.Visit.report", phase="both")
        assert phase() is ColumnPhase.ONLY

    def test_goes_by_what_events_it_knows(self, row):
        for after in ({}, {"field": 5, "phase": {}}, {"field": "clinic.Visit.comment"}):
            happened("change_conversion_phase", **after)
        assert phase("comment") is ColumnPhase.CLEAR

    def test_is_changed_between_two_statements(self, row, monkeypatch):
        read = conversions._read
        lagging = conversions.Conversions()
        lagging.recorded = dict(read().recorded)
        answers = iter([lagging])
        monkeypatch.setattr(conversions, "_read", lambda: next(answers, None) or read())
        assert phase() is ColumnPhase.ONLY


@pytest.mark.django_db(transaction=True)
def test_a_trail_that_is_gone_has_no_phase_be_the_first():
    """Or what is encrypted alone would be written in clear again."""
    row = ColumnConversion.objects.create(**NAMES, phase=ColumnPhase.ONLY)
    table, connection = AuditEvent._meta.db_table, connections["default"]
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO away")
        try:
            with pytest.raises(MasterKeyUnusable):
                conversions.conversions_now()
        finally:
            cursor.execute(f"ALTER TABLE away RENAME TO {table}")
    assert phase() is ColumnPhase.ONLY
    row.delete()


def happened(action, before=None, **after):
    with audit.act("default"):
        audit.record(action, actor=APPLICATION, using="default", before=before, after=after)
