"""A dump is loaded, and the log has what it is told to have."""

import pytest
from auditlog.models import LogEntry
from django.core import serializers
from django.core.management import call_command

from tests.neighbours.audit_logs.models import Excluded, Note

pytestmark = pytest.mark.django_db


def load(path, rows):
    text = serializers.serialize("json", rows)
    for row in rows:
        row.delete()
    LogEntry.objects.all().delete()
    path.write_text(text)
    call_command("loaddata", str(path), verbosity=0)


@pytest.mark.parametrize("known", [False, True])
def test_a_dump_is_loaded(known, tmp_path):
    note = Note.objects.create(title="t", text="the value", data={"a": 1})
    pk = note.pk
    load(tmp_path / "dump.json", [note])
    if known:
        call_command("loaddata", str(tmp_path / "dump.json"), verbosity=0)
    note = Note.objects.get(pk=pk)
    assert (note.text, note.data) == ("the value", {"a": 1})
    assert LogEntry.objects.get_for_object(note).first().changes["title"] == ["None", "t"]


def test_an_excluded_field_is_not_in_the_log(tmp_path):
    load(tmp_path / "dump.json", [Excluded.objects.create(title="t", text="the value")])
    assert Excluded.objects.get().text == "the value"
    assert "the value" not in str(list(LogEntry.objects.values_list("changes", "changes_text")))


def test_a_row_with_a_blind_index_is_saved_and_logged():
    note = Excluded.objects.create(title="t", text="the value")
    note.title, note.text = "u", "another"
    note.save()
    changes = LogEntry.objects.get_for_object(note).first().changes
    assert changes == {"title": ["t", "u"]}  # which values are equal is not in it
    assert Excluded.objects.get(text="ANOTHER") == note
