"""Values of key versions that are not there are verified without a query for each."""

import json
import os
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from envelope_fields.lifecycle import create_master_key
from envelope_fields.models import MasterKeyVersion
from envelope_fields.rotation import verification
from envelope_fields.rotation.verification import verify
from tests.models import Note
from tests.rotation import put

pytestmark = pytest.mark.django_db(databases="__all__")


def verified():
    with CaptureQueriesContext(connection) as captured:
        found = list(verify(["tests.Note.text"], "default"))
    table = MasterKeyVersion._meta.db_table
    asked = [query for query in captured if "SELECT" in query["sql"] and table in query["sql"]]
    return [each for batch in found for each in batch.unreadable], len(asked)


def unknown_notes(*version_ids):
    for version_id in version_ids:
        note = Note.objects.create(text="a", data=None)
        put(note, "text", b"\x01" + version_id + os.urandom(88))


@pytest.mark.parametrize("version_ids", [[b"same id."] * 20, [os.urandom(8) for _ in range(20)]])
def test_however_many_there_are(version_ids, monkeypatch):
    monkeypatch.setattr(verification, "SECONDS_BETWEEN_LOOKS", 60)
    unknown_notes(*version_ids)
    unreadable, asked = verified()
    assert [each.version_id for each in unreadable] == [each.hex() for each in version_ids]
    assert {each.cause for each in unreadable} == {"MasterKeyNotFound"}
    assert "tests.Note.text: No master key version has the id" in unreadable[0].message
    assert asked == 1


def test_a_version_that_is_made_meanwhile_is_known(monkeypatch):
    monkeypatch.setattr(verification, "SECONDS_BETWEEN_LOOKS", 0)
    versions = verification.KnownVersions()
    Note.objects.create(text="a", data=None)
    before = MasterKeyVersion.objects.get()
    versions.check(b"\x01" + bytes(before.version_id) + bytes(88))
    made = create_master_key("lab").current_version
    versions.check(b"\x01" + bytes(made.version_id) + bytes(88))


def test_a_rewrap_does_not_say_that_every_value_is_where_it_belongs():
    unknown_notes(b"one gone", b"another.")
    said = (
        r"tests\.Note\.text in 'default': 2 values, under a key version that is not there: "
        "restore its row from a backup of the keys before the key is rotated again"
    )
    out = StringIO()
    with pytest.raises(CommandError, match=said):
        call_command("rewrap", stdout=out)
    assert out.getvalue() == ""
    with pytest.raises(CommandError, match=said):
        call_command("rewrap", json=True, stdout=out)
    [[unknown]] = [each["unknown_versions"] for each in json.loads(out.getvalue())]
    assert (unknown["field"], unknown["values"]) == ("tests.Note.text", 2)
