"""Versions are copies as text: a deletion names them, and a revert brings none back by then."""

import io
import json

import pytest
import reversion
from django.core.management import call_command
from django.db import transaction
from reversion.errors import RevertError
from reversion.models import Version

from envelope_fields.exceptions import MasterKeyUnusable
from envelope_fields.lifecycle import (
    ConfirmationRequired,
    destroy_due_keys,
    rotate_master_key,
    schedule_deletion,
)
from envelope_fields.models import MasterKey
from tests.lifecycle import at
from tests.neighbours.revisions.models import Note

pytestmark = pytest.mark.django_db(databases="__all__")


@pytest.fixture
def old():
    """A version of the key under which there are only copies as text."""
    with reversion.create_revision():
        note = Note.objects.create(text="before")
    key = MasterKey.objects.get(alias="default")
    rotate_master_key(key)
    note.text = "after"
    note.save()
    return key.versions.get(number=1)


def test_the_census_finds_them(old):
    output = io.StringIO()
    call_command("census", "--text", "--json", stdout=output)
    [copies] = json.loads(output.getvalue())["text"]
    assert (copies["model"], copies["field"], copies["number"], copies["rows"]) == (
        "reversion.Version", "serialized_data", 1, 1,
    )  # fmt: skip


def test_a_deletion_names_them(old):
    with pytest.raises(
        ConfirmationRequired, match=r"reversion\.Version\.serialized_data"
    ) as caught:
        schedule_deletion(old)
    schedule_deletion(old, confirm=caught.value.expected)


def test_a_revert_writes_nothing_that_is_about_to_go(old, monkeypatch):
    with pytest.raises(ConfirmationRequired) as caught:
        schedule_deletion(old, 7)
    schedule_deletion(old, 7, confirm=caught.value.expected)
    revision = Version.objects.get().revision
    refused = pytest.raises((RevertError, MasterKeyUnusable), match="pending deletion")
    with refused, transaction.atomic():
        revision.revert()
    assert Note.objects.get().text == "after"
    at(monkeypatch, days=8)
    assert destroy_due_keys().destroyed == [], "somebody wanted it back"
