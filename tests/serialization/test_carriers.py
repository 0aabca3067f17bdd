"""What a deserialized object holds must not be taken for its value."""

import pytest
from django.core import serializers
from django.core.exceptions import FieldError
from django.db import transaction
from django.forms import modelform_factory

from tests.models import Child, Note
from tests.stored import stored

pytestmark = pytest.mark.django_db


@pytest.fixture
def deserialized():
    note = Note.objects.create(title="t", text="the value", data={"a": 1})
    text = serializers.serialize("json", [note])
    (found,) = serializers.deserialize("json", text)
    return found.object


def test_another_field_refuses_its_envelope(deserialized):
    with pytest.raises(FieldError, match=r"tests\.Child\.text"), transaction.atomic():
        Child.objects.create(note=Note.objects.get(), text=deserialized.text)
    with pytest.raises(FieldError, match=r"tests\.Child\.text"), transaction.atomic():
        Child.objects.update(text=deserialized.text)


@pytest.mark.parametrize("use", [str, "{}".format, lambda carrier: f"{carrier}"])
def test_it_makes_no_text(deserialized, use):
    with pytest.raises(TypeError, match="save the object"):
        use(deserialized.text)


def test_a_plain_column_or_a_form_does_not_take_it_for_text(deserialized):
    with pytest.raises(TypeError):
        Note(title=deserialized.text).save()
    with pytest.raises(TypeError):
        str(modelform_factory(Note, fields=["text"])(instance=deserialized))


def test_after_any_save_the_value_is_read(deserialized):
    envelope = deserialized.text.envelope
    deserialized.save()
    assert deserialized.text == "the value"
    assert stored(deserialized, "text") == envelope


def test_it_can_be_copied_after_it_was_saved(deserialized):
    deserialized.save()
    deserialized.pk = None
    deserialized._state.adding = True
    deserialized.save(force_insert=True)
    assert [note.text for note in Note.objects.all()] == ["the value"] * 2
