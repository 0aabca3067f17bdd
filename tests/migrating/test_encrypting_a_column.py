"""The migrations of the how-to "Encrypt an existing column", as they stand there."""

import re
import sqlite3
from pathlib import Path

import pytest
from django.db import migrations, models

from envelope_fields.crypto import format as layout
from envelope_fields.fields import EncryptedTextField
from envelope_fields.migrating.refusals import ConversionRefused

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs/how-to/encrypt-an-existing-column.md").read_text()
BLOCK = re.compile(r"```python\n# visits/migrations/(?P<name>\w+)\.py\n(?P<text>.*?)```", re.DOTALL)
WRITTEN_BY_HAND = {block["name"]: block["text"] for block in BLOCK.finditer(PAGE)}

SECRET = "only to be read by the doctor"
ROWS = 1203  # some batches, and a part of one


@pytest.fixture
def visits(project):
    """The app before the how-to, with a second column added and values in the first."""
    pk = models.BigAutoField(primary_key=True)
    report = models.TextField(blank=True)
    second = EncryptedTextField(null=True, editable=False, context="visits.visit.report")
    project.add("visits", migrations.CreateModel("Visit", [("id", pk), ("report", report)]))
    project.migrate()
    model = project.model("visits", "Visit")
    texts = ["", *(f"{SECRET} {number}" for number in range(1, ROWS))]
    model.objects.using("scratch").bulk_create(model(report=text) for text in texts)
    added = migrations.AddField("visit", "report_encrypted", second)
    project.add("visits", added, name="0002_second_column")
    project.texts = texts
    return project


def write(project, *names):
    for name in names:
        project.write("visits", name, WRITTEN_BY_HAND[name])


def reports(project):
    return list(project.rows("visits", "Visit").values_list("report", flat=True))


def test_the_page_has_both(visits):
    assert set(WRITTEN_BY_HAND) == {"0003_copy_reports", "0004_swap_reports"}


def test_all_at_once(visits):
    write(visits, "0003_copy_reports", "0004_swap_reports")
    visits.migrate()
    assert reports(visits) == visits.texts
    stored = visits.column("visits", "Visit", "report")
    assert len(set(stored)) == ROWS  # each value has a data key of its own
    assert all(layout.parse(envelope) for envelope in stored)
    with visits.connection.cursor() as cursor:
        description = visits.connection.introspection.get_table_description(cursor, "visits_visit")
    assert [column.name for column in description] == ["id", "report"]
    visits.rows("visits", "Visit").create()
    assert reports(visits)[-1] == ""


def test_killed_and_run_again(visits, monkeypatch):
    write(visits, "0003_copy_reports")
    encrypt, calls = EncryptedTextField.get_db_prep_save, []

    def kill(*args, **kwargs):
        calls.append(1)
        if len(calls) > 700:
            raise KeyboardInterrupt
        return encrypt(*args, **kwargs)

    monkeypatch.setattr(EncryptedTextField, "get_db_prep_save", kill)
    with pytest.raises(KeyboardInterrupt):
        visits.migrate()
    monkeypatch.undo()
    copied = visits.model("visits", "Visit").objects.using("scratch")
    assert copied.filter(report_encrypted__isnull=False).count() == 500
    visits.migrate()
    assert copied.filter(report_encrypted__isnull=True).count() == 0
    write(visits, "0004_swap_reports")
    visits.migrate()
    assert reports(visits) == visits.texts


def test_the_short_cut_is_refused(visits):
    alter = migrations.AlterField("visit", "report", EncryptedTextField(blank=True))
    visits.add("visits", alter)
    with pytest.raises(ConversionRefused, match=f"leave its {ROWS:,} values"):
        visits.migrate()


def test_a_fresh_database(project, visits):
    write(visits, "0003_copy_reports", "0004_swap_reports")
    visits.migrate()
    visits.migrate("visits", "zero")
    visits.migrate()
    assert reports(visits) == []


def test_what_stays_behind(visits):
    """As the page says of SQLite: until VACUUM, the file has what was deleted."""
    if visits.connection.vendor != "sqlite":
        return
    write(visits, "0003_copy_reports", "0004_swap_reports")
    visits.migrate()
    path = visits.connection.settings_dict["NAME"]
    visits.connection.close()
    connection = sqlite3.connect(path)
    connection.execute("VACUUM")
    connection.close()
    with open(path, "rb") as file:
        assert SECRET.encode() not in file.read()
