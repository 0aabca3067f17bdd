"""Migrations that would drop one of the two columns of a field that moves."""

import pytest
from django.db import models
from django.db.migrations import (
    AddField,
    AlterField,
    CreateModel,
    RemoveField,
    RenameField,
    RunSQL,
    SeparateDatabaseAndState,
)
from django.utils import timezone

from envelope_fields.conversion.phases import ConversionRefused
from envelope_fields.crypto import format as layout
from envelope_fields.fields import EncryptedTextField
from envelope_fields.migrating import refusals
from envelope_fields.migrating.moves import ValuesWouldBeLost
from envelope_fields.models import ColumnConversion, ColumnPhase, ConversionKind
from tests.migrating.project import DEFAULT_KEY

pytestmark = [pytest.mark.with_our_tables]

CREATE = CreateModel(
    "Visit",
    [("id", models.BigAutoField(primary_key=True)), ("report", models.TextField())],
)
CLEAR = models.TextField(null=True, blank=True, editable=False, db_column="report")


def encrypted(**options):
    return EncryptedTextField(null=True, db_column="report_encrypted", **options)


RENAME = [AlterField("visit", "report", CLEAR), RenameField("visit", "report", "report_clear")]
ADD = AddField("visit", "report", encrypted(converts="report_clear"))
REMOVE = [
    RemoveField("visit", "report_clear"),
    AlterField("visit", "report", encrypted()),
]


@pytest.fixture
def moving(project):
    project.add("visits", CREATE)
    project.add("visits", *RENAME)
    project.add("visits", ADD)
    project.migrate()
    return project


def insert(project, old, new=None):
    with project.connection.cursor() as cursor:
        quote = project.connection.ops.quote_name
        mark = "_binary %s" if new and project.connection.vendor == "mysql" else "%s"
        cursor.execute(
            f"INSERT INTO visits_visit (report, {quote('report_encrypted')}) VALUES (%s, {mark})",
            [old, new],
        )


def be(project, phase, model="visits.Visit", field="report"):
    ColumnConversion.objects.using(project.alias).update_or_create(
        model=model, field=field, kind=ConversionKind.COLUMN,
        defaults={"phase": phase, "changed_at": timezone.now()},
    )  # fmt: skip


@pytest.mark.parametrize("phase", [None, *ColumnPhase])
def test_values_in_clear_are_not_dropped(moving, phase):
    insert(moving, "a cough", b"\x01")
    if phase:
        be(moving, phase)
    moving.add("visits", *REMOVE)
    with pytest.raises(ValuesWouldBeLost, match="drop 1 value in clear of visits"):
        moving.migrate()
    assert moving.column("visits", "visit", "report_clear") == ["a cough"]


def test_after_the_last_phase_it_goes(moving):
    insert(moving, None, b"\x01")
    be(moving, ColumnPhase.ONLY)
    moving.add("visits", *REMOVE)
    moving.migrate()
    assert moving.column("visits", "visit", "report") == [b"\x01"]


@pytest.mark.parametrize("phase", [ColumnPhase.CLEAR, ColumnPhase.ONLY])
def test_what_comes_with_the_plan_does_not_become_plain(moving, phase):
    """One operation is looked at for two reasons, and right before it runs for both."""
    be(moving, phase)
    is_postgresql = moving.connection.vendor == "postgresql"
    envelope = "decode('01', 'hex')" if is_postgresql else "X'01'"
    moving.add("visits", RunSQL(
        f"INSERT INTO visits_visit (report, report_encrypted) VALUES (NULL, {envelope})"
    ))  # fmt: skip
    plain = models.TextField(null=True, db_column="report_encrypted")
    moving.add("visits", AlterField("visit", "report", plain))
    with pytest.raises(refusals.ConversionRefused, match="leave its 1 value"):
        moving.migrate()


@pytest.mark.parametrize("phase", list(ColumnPhase)[1:-1])
def test_column_that_is_written_is_not_dropped(moving, phase):
    insert(moving, None)
    be(moving, phase)
    moving.add("visits", *REMOVE)
    with pytest.raises(ValuesWouldBeLost, match=f"is {phase}, and its column in clear"):
        moving.migrate()


def test_fresh_database(project):
    project.add("visits", CREATE)
    project.add("visits", *RENAME)
    project.add("visits", ADD)
    project.add("visits", *REMOVE)
    project.migrate()
    project.migrate("visits", "zero")
    project.migrate()


def test_database_that_was_left_behind(project):
    """All migrations in one plan, where no value has moved."""
    project.add("visits", CREATE)
    project.migrate()
    project.execute("INSERT INTO visits_visit (report) VALUES ('a cough')")
    project.add("visits", *RENAME)
    project.add("visits", ADD)
    project.add("visits", *REMOVE)
    with pytest.raises(ValuesWouldBeLost, match="drop 1 value in clear"):
        project.migrate()
    assert project.column("visits", "visit", "report") == ["a cough"]


@pytest.mark.parametrize(
    "operation",
    [
        AlterField("visit", "report", encrypted()),
        SeparateDatabaseAndState(database_operations=[REMOVE[0]], state_operations=[*REMOVE]),
    ],
)
def test_other_ways(moving, operation):
    insert(moving, "a cough")
    moving.add("visits", operation)
    with pytest.raises(ValuesWouldBeLost):
        moving.migrate()


class TestBackwards:
    @pytest.mark.parametrize("phase", list(ColumnPhase)[1:])
    def test_encrypted_column_in_use_stays(self, moving, phase):
        insert(moving, "a cough", b"\x01")
        be(moving, phase)
        with pytest.raises(ValuesWouldBeLost, match=f"which is {phase}. Go back to `clear` first"):
            moving.migrate("visits", "0001")
        assert moving.column("visits", "visit", "report") == [b"\x01"]

    @pytest.mark.parametrize("phase", [None, ColumnPhase.CLEAR])
    def test_in_clear_it_goes(self, moving, phase):
        insert(moving, "a cough", b"\x01")
        if phase:
            be(moving, phase)
        moving.migrate("visits", "0001")
        assert moving.column("visits", "visit", "report") == ["a cough"]

    def test_values_that_only_it_has(self, moving):
        insert(moving, None, b"\x01")
        with pytest.raises(ValuesWouldBeLost, match="drop 1 value of visits"):
            moving.migrate("visits", "0001")

    def test_from_behind_the_end(self, moving):
        """The column in clear comes back empty, and the encrypted one stays."""
        insert(moving, None, b"\x01")
        be(moving, ColumnPhase.ONLY)
        moving.add("visits", *REMOVE)
        moving.migrate()
        with pytest.raises(ValuesWouldBeLost):
            moving.migrate("visits", "0001")
        assert moving.column("visits", "visit", "report") == [b"\x01"]
        moving.migrate("visits", "0003")
        assert moving.column("visits", "visit", "report_clear") == [None]


class TestLateColumns:
    """One that is added when the field is encrypted in other tables, or was once."""

    @pytest.fixture
    def late(self, project):
        project.add("visits", CREATE, after=[DEFAULT_KEY])
        project.add("visits", *RENAME)
        project.migrate()
        for report in ("a cough", None, "a fever"):
            with project.connection.cursor() as cursor:
                cursor.execute("INSERT INTO visits_visit (report) VALUES (%s)", [report])
        return project

    @pytest.mark.parametrize("phase", [None, *ColumnPhase])
    def test_its_values_are_read_as_the_phase_says(self, late, phase):
        if phase:
            be(late, phase)
        late.add("visits", ADD)
        late.migrate()
        assert [row.report for row in late.rows("visits", "visit")] == ["a cough", None, "a fever"]

    @pytest.mark.parametrize("phase", [ColumnPhase.ENCRYPTED, ColumnPhase.ONLY])
    def test_they_are_encrypted_where_that_is_read(self, late, phase):
        be(late, phase)
        late.add("visits", ADD)
        late.migrate()
        found = late.column("visits", "visit", "report")
        assert sorted(each[:1] for each in found if each) == [b"\x01"] * 2
        old = late.column("visits", "visit", "report_clear")
        assert len([each for each in old if each]) == (2 if phase.writes_old else 0)

    def test_values_that_cannot_be_encrypted_hold_it_up(self, late):
        be(late, ColumnPhase.ONLY)
        text = layout.encode_text(b"\x01" * 120)
        with late.connection.cursor() as cursor:
            cursor.execute("UPDATE visits_visit SET report = %s WHERE report = 'a fever'", [text])
        late.add("visits", ADD)
        with pytest.raises(ConversionRefused, match="1 value in clear") as caught:
            late.migrate()
        assert text not in str(caught.value)
