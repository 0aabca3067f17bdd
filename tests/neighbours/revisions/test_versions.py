"""A version holds the envelope, and a revert brings the value back."""

import pytest
import reversion
from reversion.models import Version

from tests.neighbours.revisions.models import Note

pytestmark = pytest.mark.django_db


@pytest.fixture
def note():
    with reversion.create_revision():
        note = Note.objects.create(text="before")
    with reversion.create_revision():
        note.text = "after"
        note.save()
    return note


def test_a_version_holds_no_plaintext(note):
    for version in Version.objects.get_for_object(note):
        assert "envelope:" in version.serialized_data
        assert "before" not in version.serialized_data
        assert "after" not in version.serialized_data


def test_a_revert_brings_the_value_back(note):
    Version.objects.get_for_object(note).last().revision.revert()
    assert Note.objects.get(pk=note.pk).text == "before"


def test_each_version_is_found_by_its_value(note):
    for version, text in zip(
        Version.objects.get_for_object(note), ("AFTER", "BEFORE"), strict=True
    ):
        version.revision.revert()
        assert Note.objects.get(text=text) == note
        assert Note.objects.filter(text__in=["before", "after"]).count() == 1
