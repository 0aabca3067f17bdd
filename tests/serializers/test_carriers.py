"""What a deserialized object holds: values to whoever looks, and envelopes to be stored."""

import json

import pytest
from django.core import serializers
from django.core.exceptions import FieldError
from django.db import transaction
from django.db.models.signals import post_save, pre_save
from django.forms import modelform_factory

from envelope_fields.crypto.format import decode_text
from envelope_fields.exceptions import MasterKeyNotFound
from envelope_fields.fields.carriers import StoredEnvelope
from tests.models import Child, Note
from tests.serializers.fixture import envelopes, load
from tests.serializers.test_loading import UNKNOWN
from tests.stored import stored

pytestmark = pytest.mark.django_db


@pytest.fixture
def text():
    note = Note.objects.create(title="t", text="the value", data={"a": [1]})
    text = serializers.serialize("json", [note])
    note.delete()
    return text


@pytest.fixture
def deserialized(text):
    (found,) = serializers.deserialize("json", text)
    return found.object


def looked_at(instance):
    return (
        instance.text,
        getattr(instance, "data", None),
        f"{instance.text}",
        Note._meta.get_field("text").value_from_object(instance),
    )


VALUES = ("the value", {"a": [1]}, "the value", "the value")


def test_its_values(deserialized):
    assert looked_at(deserialized) == VALUES
    assert deserialized.data is deserialized.data


def test_another_field_takes_the_value(deserialized):
    deserialized.save()
    child = Child.objects.create(note=deserialized, text=deserialized.text)
    assert Child.objects.get().text == "the value"
    assert stored(child, "text") != stored(deserialized, "text")


def test_a_form_shows_the_value(deserialized):
    form = modelform_factory(Note, fields=["text"])(instance=deserialized)
    assert ">\nthe value</textarea>" in str(form)


@pytest.mark.parametrize("look", [False, True])
@pytest.mark.parametrize("raw", [False, True])
def test_the_envelope_is_stored(text, deserialized, look, raw):
    if look:
        looked_at(deserialized)
    deserialized.save_base(raw=raw)
    assert looked_at(deserialized) == VALUES
    assert [stored(deserialized, "text"), stored(deserialized, "data")] == [
        decode_text(envelope) for envelope in envelopes(text)
    ]


@pytest.mark.parametrize("raw", [False, True])
def test_what_is_changed_in_place_is_stored(text, deserialized, raw):
    deserialized.data["a"].append(2)
    deserialized.save_base(raw=raw)
    assert Note.objects.get().data == {"a": [1, 2]}
    assert stored(deserialized, "text") == decode_text(envelopes(text)[0])


@pytest.mark.parametrize("look", [False, True])
def test_it_is_dumped_as_it_came(text, deserialized, look):
    if look:
        looked_at(deserialized)
    assert serializers.serialize("json", [deserialized]) == text


class TestReceivers:
    """Packages that look at what is saved, such as audit logs, find values."""

    @pytest.fixture(params=[pre_save, post_save], ids=["pre_save", "post_save"])
    def seen(self, request, text):
        seen = []

        def look(instance, raw, **kwargs):
            seen.append((raw, looked_at(instance)))

        # The one is connected before ours, as in models.py; the other after.
        before = list(request.param.receivers)
        request.param.connect(look, sender=Note, weak=False, dispatch_uid="after")
        request.param.connect(look, sender=Note, weak=False, dispatch_uid="before")
        request.param.receivers.insert(0, request.param.receivers.pop())
        request.param.sender_receivers_cache.clear()
        yield seen
        request.param.receivers[:] = before
        request.param.sender_receivers_cache.clear()

    def test_while_a_dump_is_loaded(self, seen, text, tmp_path):
        load(tmp_path / "fixture.json", text)
        assert seen == [(True, VALUES)] * 2
        assert [stored(Note.objects.get(), name) for name in ("text", "data")] == [
            decode_text(envelope) for envelope in envelopes(text)
        ]

    def test_while_plain_values_are_loaded(self, seen):
        fields = {"title": "t", "text": "the value", "data": {"a": [1]}}
        row = {"model": "tests.note", "pk": 1, "fields": fields}
        (loaded,) = serializers.deserialize("python", [row])
        loaded.save()
        assert seen == [(True, VALUES)] * 2

    def test_what_they_change_is_stored(self, text, tmp_path):
        def change(instance, **kwargs):
            instance.text = instance.text.upper()

        pre_save.connect(change, sender=Note)
        try:
            load(tmp_path / "fixture.json", text)
        finally:
            pre_save.disconnect(change, sender=Note)
        assert Note.objects.get().text == "THE VALUE"

    def test_what_they_raise_leaves_the_object_as_it_was(self, deserialized, text):
        def fail(**kwargs):
            raise RuntimeError

        pre_save.connect(fail, sender=Note)
        try:
            with pytest.raises(RuntimeError):
                deserialized.save_base(raw=True)
        finally:
            pre_save.disconnect(fail, sender=Note)
        assert looked_at(deserialized) == VALUES
        deserialized.save_base(raw=True)
        assert stored(deserialized, "text") == decode_text(envelopes(text)[0])

    def test_one_whose_key_comes_later_says_so(self, text, tmp_path):
        def look(instance, **kwargs):
            assert instance.text

        pre_save.connect(look, sender=Note)
        text = text.replace(envelopes(text)[0], UNKNOWN)
        try:
            with pytest.raises(MasterKeyNotFound, match=r"tests\.Note\.text"):
                load(tmp_path / "fixture.json", text)
        finally:
            pre_save.disconnect(look, sender=Note)
        load(tmp_path / "fixture.json", text)
        assert stored(Note(pk=json.loads(text)[0]["pk"]), "text") == decode_text(UNKNOWN)


def test_an_envelope_of_another_field_is_refused(deserialized):
    brought = vars(deserialized)["data"]
    vars(deserialized)["text"] = StoredEnvelope(brought.envelope, brought.field.label)
    with pytest.raises(FieldError, match=r"tests\.Note\.text"), transaction.atomic():
        deserialized.save()


def test_it_can_be_copied_after_it_was_saved(deserialized):
    deserialized.save()
    deserialized.pk = None
    deserialized._state.adding = True
    deserialized.save(force_insert=True)
    assert [note.text for note in Note.objects.all()] == ["the value"] * 2
