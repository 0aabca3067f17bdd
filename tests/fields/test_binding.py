"""Fields that are declared copies of others: histories and events, which hold copies of rows."""

import pytest
from django.core.exceptions import FieldError
from django.db import connection, models
from django.test.utils import isolate_apps

from envelope_fields.exceptions import DecryptionFailed
from envelope_fields.fields import EncryptedTextField
from envelope_fields.fields.prepared import StoredEnvelope
from envelope_fields.lifecycle import create_master_key
from envelope_fields.policy import APPLICATION, acting_as
from tests.models import MaskedNote
from tests.stored import stored

pytestmark = pytest.mark.django_db


@pytest.fixture
def event():
    """A class whose rows hold copies, of a table that no test needs."""
    with isolate_apps("tests"):

        class Event(models.Model):
            text = EncryptedTextField(key="lab", copy_of="tests.MaskedNote.text", on_denied="mask")
            plain = EncryptedTextField(key="lab")

            class Meta:
                app_label = "tests"

        # Where a project declares it, both are in one registry.
        Event._meta.apps.register_model("tests", MaskedNote)
        yield Event


@pytest.fixture
def note():
    create_master_key("lab")
    with acting_as(APPLICATION):
        return MaskedNote.objects.create(text="abc")


def test_it_reads_under_the_label_of_the_other(event, note):
    envelope = stored(note, "text")
    field = event._meta.get_field("text")
    with acting_as(APPLICATION):
        assert field.from_db_value(envelope, field.get_col("x"), connection) == "abc"
        with pytest.raises(DecryptionFailed):
            other = event._meta.get_field("plain")
            other.from_db_value(envelope, other.get_col("x"), connection)


def test_it_writes_under_its_own(event, note):
    field = event._meta.get_field("text")
    assert field.label == "tests.event.text"
    assert len(field.contexts) == 2
    assert field.deconstruct()[3]["copy_of"] == "tests.MaskedNote.text"
    assert type(field).clone(field).copy_of == "tests.MaskedNote.text"


def test_what_may_not_be_read_is_copied_as_it_is(event, note, django_user_model):
    with acting_as(django_user_model.objects.create_user("nora")):
        seen = MaskedNote.objects.get()
        row = event(text=seen.text, plain="x")
        assert str(row.text) == "••••••••"
        prepared = event._meta.get_field("text").pre_save(row, add=True)
        assert type(prepared) is StoredEnvelope
        assert prepared.envelope == stored(note, "text")
        row.plain = seen.text
        with pytest.raises(FieldError, match="another object"):
            event._meta.get_field("plain").pre_save(row, add=True)


def test_a_history_that_is_no_copy_has_null(event, note, django_user_model):
    field = event._meta.get_field("plain")
    with acting_as(django_user_model.objects.create_user("nora")):
        row = event(plain=MaskedNote.objects.get().text)
        field.null, event.instance_type = True, MaskedNote
        assert field.pre_save(row, add=True) is None
