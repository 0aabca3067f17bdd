"""`rewrap` counts and names what it cannot move because it is no envelope."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from envelope_fields.lifecycle import rotate_master_key
from envelope_fields.rotation import start
from tests.models import Note
from tests.rotation import left, put

pytestmark = pytest.mark.django_db(databases="__all__")

PLAIN = {"database": "default", "schema": None, "field": "tests.Note.text", "values": 2,
         "cause": "not an envelope"}  # fmt: skip
SAID = r"tests\.Note\.text in 'default': 2 values, not an envelope"


@pytest.fixture(autouse=True)
def notes():
    notes = Note.objects.bulk_create([Note(text=f"{n}", data=[n]) for n in range(4)])
    put(notes[0], "text", b"plain text")
    put(notes[1], "text", b"\x02" + b"\xff" * 120)
    return notes


def rewrapped(**options):
    out = StringIO()
    with pytest.raises(CommandError, match=SAID) as failed:
        call_command("rewrap", stdout=out, **options)
    assert "plain text" not in out.getvalue()
    assert failed.value.returncode == 1
    return out.getvalue()


def test_they_are_named_where_others_are_moved():
    rotate_master_key("default")
    assert "default: 6 values rewrapped, 0 failed" in rewrapped()
    assert left("default") == 0


def test_they_are_named_where_nothing_is_to_be_moved():
    assert rewrapped() == ""


def test_in_json():
    assert json.loads(rewrapped(json=True)) == [{"not_envelopes": [PLAIN]}]
    rotate_master_key("default")
    run, plain = json.loads(rewrapped(json=True))
    assert run["moved"] == 6
    assert plain == {"not_envelopes": [PLAIN]}


def test_in_the_fields_that_are_asked_for():
    rotate_master_key("default")
    call_command("rewrap", field=["tests.Note.data"], stdout=StringIO())
    call_command("rewrap", database="other", stdout=StringIO())
    run = start("default", fields=["tests.Note.text"])
    rewrapped(run=str(run.pk))


def test_beforehand():
    out = StringIO()
    call_command("rewrap", dry_run=True, stdout=out)
    assert "tests.Note.text in 'default': 2 values, not an envelope" in out.getvalue()
    out = StringIO()
    call_command("rewrap", dry_run=True, json=True, stdout=out)
    assert json.loads(out.getvalue()) == [{"not_envelopes": [PLAIN]}]
