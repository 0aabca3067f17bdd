"""What a fixture may bring: envelopes, stored byte for byte, and plain values, encrypted."""

import json
from datetime import date

import pytest
from django.core import serializers
from django.core.exceptions import FieldError
from django.core.serializers.base import DeserializationError
from django.core.serializers.python import Deserializer as DjangoDeserializer
from django.db import IntegrityError, transaction
from django.db.models.signals import pre_save
from django.forms import modelform_factory
from rest_framework.serializers import ModelSerializer

from envelope_fields.crypto.format import decode_text, encode_text
from envelope_fields.exceptions import DecryptionFailed, MalformedEnvelope, MasterKeyNotFound
from envelope_fields.lifecycle import create_master_key
from tests.models import (
    Bed,
    Chart,
    CompositeKeyed,
    Declared,
    Note,
    OddNames,
    Place,
    PlaceProxy,
    Renamed,
    Restaurant,
    TenantNote,
    UuidKeyed,
    Ward,
)
from tests.serializers.fixture import FORMATS, dump, envelopes, load, row, rows
from tests.stored import stored, version_of

pytestmark = pytest.mark.django_db

UNKNOWN = encode_text(b"\x01" + bytes(8) + b"of a key that is not here" + bytes(100))


@pytest.fixture
def fixture(tmp_path):
    return tmp_path / "fixture.json"


@pytest.mark.parametrize("format", FORMATS)
def test_envelopes_are_stored_as_they_are(tmp_path, format):
    note = Note.objects.create(text="secret", data=[1])
    text = dump("tests.Note", format=format)
    Note.objects.all().delete()
    load(tmp_path / f"fixture.{format}", text)
    note.refresh_from_db()
    assert (note.text, note.data) == ("secret", [1])
    assert {stored(note, "text"), stored(note, "data")} == set(map(decode_text, envelopes(text)))


SHAPES = [
    OddNames(pk=1, text="secret", data={"a": 0}),
    UuidKeyed(text="secret"),
    CompositeKeyed(ward=1, bed=2, text="secret"),
    Renamed(pk=1, text="secret"),
]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("row", SHAPES, ids=lambda row: type(row).__name__)
def test_models_of_every_shape(tmp_path, format, row):
    text = serializers.serialize(format, [row])
    assert "secret" not in text
    load(tmp_path / f"fixture.{format}", text)
    assert type(row).objects.get().text == "secret"
    assert stored(type(row).objects.get(), "text") in set(map(decode_text, envelopes(text)))


@pytest.mark.parametrize("format", FORMATS)
def test_their_keys_may_come_later(tmp_path, format):
    text = serializers.serialize(format, [Note(pk=1, text="a", data="b")])
    for envelope in envelopes(text):
        text = text.replace(envelope, UNKNOWN)
    load(tmp_path / f"fixture.{format}", text)
    assert stored(Note(pk=1), "text") == decode_text(UNKNOWN)
    with pytest.raises(MasterKeyNotFound):
        _ = Note.objects.get().text


@pytest.mark.parametrize(
    ("value", "loaded"),
    [("plain", "plain"), ("", ""), (" a ", " a "), (0, "0"), (5, "5"), (False, "False")],
)
def test_plain_text(fixture, value, loaded):
    load(fixture, rows(row("tests.note", 1, text=value)))
    note = Note.objects.get()
    assert note.text == loaded
    assert len(stored(note, "text")) == 97 + len(loaded)


@pytest.mark.parametrize("value", [0, 5, 1.5, False, True, "", "plain", [], {"a": None}], ids=repr)
def test_plain_json(fixture, value):
    load(fixture, rows(row("tests.chart", 1, values=value)))
    chart = Chart.objects.get()
    assert chart.values == value
    assert type(chart.values) is type(value)
    assert len(stored(chart, "values")) == 97 + len(json.dumps(value))


@pytest.mark.parametrize("value", [0, True, "", "plain", [1], {"a": None}], ids=repr)
def test_plain_json_in_xml_is_json_text(tmp_path, value):
    text = xml("tests.chart", "values", json.dumps(value))
    load(tmp_path / "fixture.xml", text)
    assert Chart.objects.get().values == value


def test_plain_json_in_xml_goes_through_the_decoder(tmp_path):
    load(tmp_path / "fixture.xml", xml("tests.declared", "dates", '{"date": "2024-02-29"}'))
    assert Declared.objects.get().dates == date(2024, 2, 29)


def test_a_default_is_not_taken_for_what_the_xml_says(tmp_path):
    load(tmp_path / "fixture.xml", xml("tests.note", "title", "x"))
    assert Note.objects.get().data == {}


def test_broken_json_in_xml(tmp_path):
    with pytest.raises(DeserializationError) as error:
        load(tmp_path / "fixture.xml", xml("tests.chart", "values", "not json"))
    assert "tests.Chart.values, in the fixture's object with the primary key 1" in str(error.value)
    assert "not json" not in str(error.value)
    assert error.value.__context__ is None or "not json" not in repr(vars(error.value.__context__))


@pytest.mark.parametrize("format", ["json", "jsonl", "yaml"])
def test_plain_values_in_other_formats(tmp_path, format):
    texts = {
        "json": '[{"model": "tests.note", "pk": 1, "fields": {"text": "a", "data": {"b": [1]}}}]',
        "jsonl": '{"model": "tests.note", "pk": 1, "fields": {"text": "a", "data": {"b": [1]}}}',
        "yaml": "- model: tests.note\n  pk: 1\n  fields: {text: a, data: {b: [1]}}\n",
    }
    load(tmp_path / f"fixture.{format}", texts[format])
    note = Note.objects.get()
    assert (note.text, note.data) == ("a", {"b": [1]})


def test_plain_values_get_the_key_of_their_row(fixture):
    key = create_master_key("clinic-a")
    load(fixture, rows(row("tests.tenantnote", 1, tenant="clinic-a", text="x", data=0)))
    note = TenantNote.objects.get()
    assert (note.text, note.data) == ("x", 0)
    for name in ("text", "data"):
        assert version_of(stored(note, name)) == bytes(key.current_version.version_id)


MALFORMED = [
    "envelope:",
    "envelope:!",
    "envelope:AA",
    f"{UNKNOWN}=",
    f"{UNKNOWN[:-9]} {UNKNOWN[-9:]}",
]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("malformed", MALFORMED)
def test_malformed_envelopes(tmp_path, format, malformed):
    good, bad = Note(pk=1, text="a", data=None), Note(pk=77, text="b", data=None)
    text = serializers.serialize(format, [good, bad])
    quoted = f'"{malformed}"' if format == "yaml" else malformed
    text = text.replace(envelopes(text)[1], quoted)
    with pytest.raises(MalformedEnvelope) as error:
        load(tmp_path / f"fixture.{format}", text)
    assert "tests.Note.text, in the fixture's object with the primary key 77" in str(error.value)
    assert not Note.objects.exists()


def test_an_envelope_of_another_field_loads_and_does_not_open(fixture):
    (envelope,) = envelopes(serializers.serialize("json", [Chart(pk=1, values="x")]))
    load(fixture, rows(row("tests.note", 1, text=envelope)))
    with pytest.raises(DecryptionFailed):
        _ = Note.objects.get().text


ORDINARY = ["envelope:", "envelope:abc"]


@pytest.mark.parametrize("text", ORDINARY)
def test_outside_of_fixtures_it_is_ordinary_text(text):
    """It only begins like an envelope; what is one is refused (tests.fields.test_stand_ins)."""

    class NoteSerializer(ModelSerializer):
        class Meta:
            model = Note
            fields = ["text", "data"]

    Note.objects.create(text=text, data=text)
    Note.objects.bulk_create([Note(text=text, data=text)])
    assigned = Note.objects.create()
    assigned.text = assigned.data = text
    assigned.save()
    updated = Note.objects.create()
    Note.objects.filter(pk=updated.pk).update(text=text, data=text)
    bulk = Note.objects.create()
    bulk.text = bulk.data = text
    Note.objects.bulk_update([bulk], ["text", "data"])
    form = modelform_factory(Note, fields=["text", "data"])({"text": text, "data": f'"{text}"'})
    form.save()
    serializer = NoteSerializer(data={"text": text, "data": text})
    serializer.is_valid(raise_exception=True)
    serializer.save()
    assert list(Note.objects.values_list("text", "data")) == [(text, text)] * 7


class TestTheObjectAfterwards:
    """`DeserializedObject.object` and what one can do with it."""

    @staticmethod
    def deserialized(format="json", **options):
        note = Note(pk=1, title="t", text="secret", data=[1])
        text = serializers.serialize(format, [note])
        return next(serializers.deserialize(format, text, **options))

    def test_its_values(self):
        loaded = self.deserialized()
        loaded.save()
        assert (loaded.object.text, loaded.object.data) == ("secret", [1])

    def test_its_plain_values(self):
        (loaded,) = serializers.deserialize("python", [row("tests.note", 1, text="a", data=0)])
        loaded.save()
        assert loaded.object.__dict__["text"] == "a"
        assert loaded.object.data == 0

    def test_saving_it_again_stores_the_same_bytes(self):
        loaded = self.deserialized()
        loaded.save()
        before = stored(loaded.object, "text")
        loaded.save()
        assert stored(loaded.object, "text") == before

    def test_saving_the_instance(self):
        loaded = self.deserialized()
        loaded.save()
        loaded.object.title = "other"
        loaded.object.save()
        assert Note.objects.get().text == "secret"

    def test_what_is_assigned_afterwards_is_no_fixture(self):
        loaded = self.deserialized()
        loaded.save()
        for _ in range(3):
            loaded.object.text = UNKNOWN
            with pytest.raises(FieldError, match="text of an envelope"), transaction.atomic():
                loaded.save()
            assert Note.objects.get().text == "secret"

    @pytest.mark.parametrize("format", FORMATS)
    def test_saving_a_copy(self, format):
        """An ordinary save stores the envelope as well, not its text as if it were the value."""
        note = Note(pk=1, title="t", text="secret", data=[1])
        text = serializers.serialize(format, [note])
        for loaded in serializers.deserialize(format, text):
            loaded.object.pk = None
            loaded.object.save()
        note = Note.objects.get()
        assert (note.text, note.data) == ("secret", [1])
        brought = set(map(decode_text, envelopes(text)))
        assert {stored(note, "text"), stored(note, "data")} == brought

    def test_saving_many(self):
        text = serializers.serialize("json", [Note(pk=pk, text="secret") for pk in (1, 2)])
        objects = [loaded.object for loaded in serializers.deserialize("json", text)]
        Note.objects.bulk_create(objects)
        assert list(Note.objects.values_list("text", flat=True)) == ["secret"] * 2

    def test_updating_many(self):
        create_master_key("clinic-a")
        notes = [TenantNote.objects.create(tenant="clinic-a", text="old") for _ in range(2)]
        for note in notes:
            note.text = "new"
        text = serializers.serialize("json", notes)
        objects = [loaded.object for loaded in serializers.deserialize("json", text)]
        TenantNote.objects.bulk_update(objects, ["text"])
        assert list(TenantNote.objects.values_list("text", flat=True)) == ["new"] * 2

    def test_its_validation(self):
        loaded = self.deserialized()
        loaded.object.full_clean()
        loaded.object.save()
        assert Note.objects.get().text == "secret"
        assert Note.objects.get().data == [1]

    def test_what_is_assigned_before_is_no_fixture(self):
        loaded = self.deserialized()
        loaded.object.text = UNKNOWN
        with pytest.raises(FieldError, match="text of an envelope"), transaction.atomic():
            loaded.save()
        assert not Note.objects.exists()

    def test_of_a_serializer_that_a_project_puts_in_our_place(self):
        """It gives the text; the raw save knows it for an envelope."""
        data = serializers.serialize("python", [Note(pk=1, text="secret", data=[1])])
        (loaded,) = DjangoDeserializer(data)
        assert loaded.object.text.startswith("envelope:")
        loaded.save()
        note = Note.objects.get()
        assert (note.text, note.data) == ("secret", [1])

    def test_saving_again_after_a_failure(self, monkeypatch):
        (loaded,) = serializers.deserialize("python", [row("tests.note", 1, text="a", data=None)])
        monkeypatch.setattr(Note, "_do_update", _fail)
        monkeypatch.setattr(Note, "_do_insert", _fail)
        with pytest.raises(IntegrityError), transaction.atomic():
            loaded.save()
        monkeypatch.undo()
        loaded.save()
        assert Note.objects.get().text == loaded.object.text == "a"


class TestPlainValuesOfAFixture:
    """What becomes of them on their way to being encrypted."""

    @staticmethod
    def failed(monkeypatch, label, **fields):
        (loaded,) = serializers.deserialize("python", [row(label, 1, **fields)])
        monkeypatch.setattr(type(loaded.object), "_do_update", _fail)
        monkeypatch.setattr(type(loaded.object), "_do_insert", _fail)
        with pytest.raises(IntegrityError), transaction.atomic():
            loaded.save()
        monkeypatch.undo()
        return loaded.object

    @pytest.fixture
    def keys(self):
        return [create_master_key("clinic-a"), create_master_key("clinic-b")]

    def test_they_stay_what_they_are(self, monkeypatch):
        note = self.failed(monkeypatch, "tests.note", text="a", data=0)
        assert (note.text, note.data) == ("a", 0)

    @pytest.mark.parametrize("raw", [True, False])
    def test_another_row_has_its_own_key(self, monkeypatch, keys, raw):
        first = self.failed(monkeypatch, "tests.tenantnote", tenant="clinic-a", text="a", data=0)
        second = TenantNote(pk=2, tenant="clinic-b")
        second.text, second.data = first.text, first.data
        second.save_base(raw=raw)
        for name in ("text", "data"):
            assert version_of(stored(second, name)) == bytes(keys[1].current_version.version_id)
        assert (second.text, second.data) == ("a", 0)

    def test_saving_the_same_row(self, monkeypatch, keys):
        note = self.failed(monkeypatch, "tests.tenantnote", tenant="clinic-a", text="a", data=0)
        note.tenant = "clinic-b"
        note.save()
        assert version_of(stored(note, "text")) == bytes(keys[1].current_version.version_id)
        assert (note.text, note.data) == ("a", 0)

    def test_validating_and_dumping_the_same_row(self, monkeypatch, keys):
        note = self.failed(monkeypatch, "tests.tenantnote", tenant="clinic-a", text="a", data=0)
        text = serializers.serialize("json", [note])
        note.full_clean()
        assert (note.text, note.data) == ("a", 0)
        load_text = next(serializers.deserialize("json", text))
        load_text.save()
        assert (load_text.object.text, load_text.object.data) == ("a", 0)

    def test_receivers_of_the_project_see_them(self):
        seen = []

        def receive(instance, raw, **kwargs):
            seen.append((raw, instance.text, instance.data))

        pre_save.connect(receive, sender=Note)
        try:
            (loaded,) = serializers.deserialize("python", [row("tests.note", 1, text="a", data=0)])
            loaded.save()
        finally:
            pre_save.disconnect(receive, sender=Note)
        assert seen == [(True, "a", 0)]


def _fail(*args, **kwargs):
    raise IntegrityError


class TestReferences:
    """Natural keys, forward references, inheritance: objects that are saved twice or in parts."""

    @pytest.mark.parametrize("format", FORMATS)
    def test_forward_references(self, tmp_path, format):
        """The second save of an object with a forward reference keeps its envelope."""
        create_master_key("ward")
        ward = Ward.objects.create(name="west", door_code="1234")
        bed = Bed(pk=1, ward=ward, patient="x", key_alias="ward")
        options = {"use_natural_foreign_keys": True, "use_natural_primary_keys": True}
        bed_text = serializers.serialize(format, [bed], **options)
        ward_text = serializers.serialize(format, [ward], **options)
        ward.delete()
        load(tmp_path / f"fixture.{format}", _joined(format, bed_text, ward_text))
        bed = Bed.objects.get()
        assert (bed.patient, bed.ward.door_code) == ("x", "1234")
        assert stored(bed, "patient") == decode_text(envelopes(bed_text)[0])

    def test_a_forward_reference_whose_key_comes_later_still(self, fixture):
        bed = row("tests.bed", 1, ward=["west"], patient=UNKNOWN)
        load(fixture, rows(bed, row("tests.ward", 5, name="west")))
        assert stored(Bed(pk=1), "patient") == decode_text(UNKNOWN)

    def test_a_plain_value_with_a_forward_reference(self, fixture):
        bed = row("tests.bed", 1, ward=["west"], patient="plain")
        load(fixture, rows(bed, row("tests.ward", 5, name="west")))
        assert Bed.objects.get().patient == "plain"

    def test_natural_primary_keys_update_the_row(self, fixture):
        ward = Ward.objects.create(name="west", door_code="1")
        load(fixture, rows({"model": "tests.ward", "fields": {"name": "west", "door_code": "2"}}))
        assert Ward.objects.get().pk == ward.pk
        assert Ward.objects.get().door_code == "2"

    def test_inheritance(self, fixture):
        Restaurant.objects.create(secret="parent", menu=["soup"])
        text = dump("tests.Place", "tests.Restaurant")
        Restaurant.objects.all().delete()
        load(fixture, text)
        restaurant = Restaurant.objects.get()
        assert (restaurant.secret, restaurant.menu) == ("parent", ["soup"])
        saved = {stored(restaurant, "secret"), stored(restaurant, "menu")}
        assert saved == set(map(decode_text, envelopes(text)))

    def test_proxies(self, fixture):
        place = Place.objects.create(secret="a")
        text = serializers.serialize("json", PlaceProxy.objects.all())
        place.delete()
        load(fixture, text)
        assert Place.objects.get().secret == "a"
        load(fixture, rows(row("tests.placeproxy", 1, secret="b")))
        assert PlaceProxy.objects.get(pk=1).secret == "b"


def test_a_callable_key_that_names_none(fixture):
    with pytest.raises(MasterKeyNotFound, match=r"tests\.TenantNote\.text: No master key has"):
        load(fixture, rows(row("tests.tenantnote", 1, tenant="nobody", text="x")))
    assert not TenantNote.objects.exists()


def test_no_plaintext_in_the_error_of_a_value_that_is_not_json(tmp_path):
    text = "- model: tests.chart\n  pk: 1\n  fields: {values: {secret: 2024-02-29}}\n"
    with pytest.raises(TypeError) as error:
        load(tmp_path / "fixture.yaml", text)
    assert "tests.Chart.values" in str(error.value)
    assert "2024" not in str(error.value)


def test_an_update_without_an_instance_still_needs_the_row():
    with pytest.raises(FieldError):
        TenantNote.plain_objects.update(text="envelope:abc")


@pytest.mark.django_db(databases=["default", "other"])
@pytest.mark.parametrize("format", FORMATS)
def test_into_another_database(tmp_path, format):
    Note.objects.create(text="secret", data={"a": 0})
    text = dump("tests.Note", format=format)
    load(tmp_path / f"fixture.{format}", text, database="other")
    note = Note.objects.using("other").get()
    assert (note.text, note.data) == ("secret", {"a": 0})
    assert stored(note, "text") in set(map(decode_text, envelopes(text)))
    back = dump("tests.Note", format=format, database="other")
    assert not set(envelopes(back)) & set(envelopes(text))  # a dump encrypts anew


def xml(model, field, text):
    return (
        f'<django-objects version="1.0"><object model="{model}" pk="1">'
        f'<field name="{field}">{text}</field></object></django-objects>'
    )


def _joined(format, first, second):
    if format == "json":
        return json.dumps(json.loads(first) + json.loads(second))
    if format == "xml":
        head, _, _ = first.partition("</django-objects>")
        _, _, tail = second.partition('<django-objects version="1.0">')
        return head + tail
    return first + second
