"""What is stored when an object is saved whose values nobody has looked at, in odd shapes."""

import copy
import pickle

import pytest
from django.core.exceptions import FieldError, ValidationError
from django.core.management import call_command
from django.db import connection, transaction
from django.db.models import Value

from envelope_fields.exceptions import EnvelopeError, MasterKeyUnusable
from envelope_fields.fields.masks import Mask
from envelope_fields.fields.prepared import StoredEnvelope
from envelope_fields.fields.sealed import BroughtValue, SealedValue
from envelope_fields.grants import grant
from envelope_fields.lifecycle import create_master_key, rotate_master_key
from envelope_fields.policy import APPLICATION, acting_as
from tests.models import (
    Child,
    CompositeKeyed,
    Keyword,
    MaskedNote,
    Note,
    Place,
    Restaurant,
    TenantNote,
    UuidKeyed,
)
from tests.stored import store, stored

pytestmark = pytest.mark.django_db

VALUE = "The patient is fine."


def sealed(instance, name="text"):
    return type(instance.__dict__[name]) is SealedValue


@pytest.fixture
def note():
    return Note.objects.create(title="t", text=VALUE, data={"a": [1]})


class TestAssigned:
    def test_a_sealed_value_is_written(self, note):
        found = Note.objects.get()
        before = vars(found)["text"]
        found.text = "new"
        found.save()
        found.text = before
        assert found.text == VALUE
        found.text = before
        found.save()
        assert Note.objects.get().text == VALUE

    @pytest.mark.parametrize("name", ["text", "data"])
    def test_but_not_inside_an_expression(self, note, name):
        field = Note._meta.get_field(name)
        sealed_one = Note.objects.get().__dict__[name]
        with pytest.raises(FieldError, match=rf"Note\.{name}: Value\(\) was given a sealed value"):
            Note.objects.update(**{name: Value(sealed_one, output_field=field)})

    def test_but_not_where_it_was_all_the_time(self, note):
        found = Note.objects.get()
        Note.objects.update(text="of another")
        found.text = vars(found)["text"]
        found.save()
        assert Note.objects.get().text == "of another"

    def test_after_the_field_was_deferred(self, note):
        before = vars(Note.objects.get())["text"]
        Note.objects.update(text="new")
        found = Note.objects.only("title").get()
        found.text = before
        found.save()
        assert Note.objects.get().text == VALUE

    def test_a_mask_is_not_kept_by_a_field_that_does_not_mask(self, django_user_model):
        create_master_key("lab")
        with acting_as(APPLICATION):
            MaskedNote.objects.create(text="abc", open="o")
        with acting_as(django_user_model.objects.create_user("ben")):
            found = MaskedNote.objects.get()
            found.open = found.text
            assert isinstance(found.open, Mask)
        with acting_as(APPLICATION):
            assert found.open == "abc"


class TestShapes:
    @pytest.fixture
    def restaurant(self):
        return Restaurant.objects.create(secret=VALUE, menu=["m"])

    @pytest.mark.parametrize("fields", [["secret"], ["secret", "menu"], ["menu", "id", "secret"]])
    def test_a_child_without_the_primary_key_of_its_parent(self, restaurant, fields):
        before = stored(restaurant, "secret")
        found = Restaurant.objects.only(*fields).get()
        found.save()
        assert sealed(found, "secret")
        assert stored(restaurant, "secret") == before

    def test_a_child_that_is_loaded_with_its_parent(self, restaurant):
        before = stored(restaurant, "secret"), stored(restaurant, "menu")
        found = Place.objects.select_related("restaurant").get().restaurant
        assert sealed(found, "secret")
        assert sealed(found, "menu")
        found.save()
        assert (stored(restaurant, "secret"), stored(restaurant, "menu")) == before

    def test_a_child_in_the_place_of_another(self, restaurant):
        other = Restaurant.objects.create(secret="other", menu=["o"])
        found = Restaurant.objects.only("secret").get(pk=restaurant.pk)
        found.pk = found.id = other.pk
        found.save()
        assert Restaurant.objects.get(pk=other.pk).secret == VALUE
        found = Restaurant.objects.get(pk=restaurant.pk)
        found.pk = found.id = None
        found.save()
        made = Restaurant.objects.get(pk=found.pk)
        assert (made.secret, made.menu) == (VALUE, ["m"])

    def test_a_primary_key_that_is_assigned_as_text(self):
        made = UuidKeyed.objects.create(text=VALUE)
        before = stored(made, "text")
        found = UuidKeyed.objects.get()
        found.pk = str(found.pk)
        found.save()
        assert stored(made, "text") == before
        found.pk = str(UuidKeyed.objects.create(text="other").pk)
        found.save()
        assert UuidKeyed.objects.get(pk=found.pk).text == VALUE
        found = UuidKeyed.objects.get(pk=made.pk)
        found.pk = "not one"
        with pytest.raises(ValidationError):
            found.save()

    def test_a_composite_key(self):
        made = CompositeKeyed.objects.create(ward=1, bed=2, text=VALUE)
        before = stored(made, "text")
        for load in (CompositeKeyed.objects.get, CompositeKeyed.objects.only("text").get):
            found = load()
            found.save()
            assert stored(made, "text") == before
        found.bed = 3
        found.save()
        assert CompositeKeyed.objects.get(pk=(1, 3)).text == VALUE

    def test_upserts_of_loaded_objects(self):
        Keyword.objects.create(word="w", text=VALUE, data={"a": 1})
        unique = {} if connection.vendor == "mysql" else {"unique_fields": ["word"]}
        Keyword.objects.bulk_create(
            Keyword.objects.all(), update_conflicts=True, update_fields=["text", "data"], **unique
        )
        found = Keyword.objects.get()
        assert (found.text, found.data) == (VALUE, {"a": 1})

    def test_update_or_create(self, note):
        before = stored(note, "text")
        found, _ = Note.objects.update_or_create(title="t", defaults={"data": {"b": 1}})
        assert sealed(found)
        assert stored(note, "text") == before

    @pytest.mark.skipif("connection.vendor != 'sqlite'", reason="it alone stores any type")
    @pytest.mark.parametrize("value", ["some text that is no envelope", 5, b"", 1.5])
    def test_a_row_that_chooses_its_key_and_has_no_envelope(self, value):
        create_master_key("a")
        note = TenantNote.objects.create(tenant="a", text=VALUE)
        store(note, "text", value)
        found = TenantNote.objects.get()
        found.save()
        assert stored(note, "text") == value
        with pytest.raises(EnvelopeError):
            _ = found.text


@pytest.mark.django_db(databases=["default", "other"])
class TestRawSaves:
    def test_another_write_survives(self, note):
        found = Note.objects.get()
        Note.objects.update(text="of another")
        found.save_base(raw=True)
        assert sealed(found)
        assert Note.objects.get().text == "of another"

    def test_inserts_encrypt_anew(self, note):
        before = stored(note, "text")
        found = Note.objects.get()
        Note.objects.all().delete()
        found.save_base(raw=True)
        assert stored(found, "text") != before
        assert Note.objects.get().text == VALUE
        found = Note.objects.get()
        found.pk = None
        found.save_base(raw=True, force_insert=True)
        assert Note.objects.get(pk=found.pk).text == VALUE
        found.save_base(raw=True, using="other")
        assert Note.objects.using("other").get().text == VALUE


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_an_envelope_under_a_key_that_may_vanish_goes_to_no_other_database():
    class Undone(Exception):
        pass

    note = Note.objects.create(text=VALUE)
    with pytest.raises(Undone), transaction.atomic():
        rotate_master_key("default")
        note.save()
        label = Note._meta.get_field("text").label
        copied = Note(pk=note.pk, text="")
        copied.text = StoredEnvelope(stored(note, "text"), label)
        copied.data = None
        with pytest.raises(MasterKeyUnusable, match=r"tests\.Note\.text: .* is not committed"):
            copied.save(using="other")
        raise Undone
    assert not Note.objects.using("other").exists()


class TestBrought:
    @pytest.fixture
    def draft(self, note):
        made = Note(title="x", text="y")
        made.data = StoredEnvelope(stored(note, "data"), Note._meta.get_field("data").label)
        assert type(vars(made)["data"]) is BroughtValue
        return made

    def test_copies_are_changed_on_their_own(self, draft):
        draft.data["b"] = 1
        copied = copy.deepcopy(draft)
        copied.data["c"] = 1
        assert draft.data == {"a": [1], "b": 1}
        copied.save()
        assert Note.objects.get(pk=copied.pk).data == {"a": [1], "b": 1, "c": 1}

    def test_pickles_hold_what_was_changed(self, draft):
        assert b'": [1]' not in pickle.dumps(draft)
        draft.data["b"] = 1
        loaded = pickle.loads(pickle.dumps(draft))
        loaded.save()
        assert Note.objects.get(pk=loaded.pk).data == {"a": [1], "b": 1}


def test_dumps_of_what_was_not_looked_at(note, tmp_path):
    Child.objects.create(note=note, text="c")
    path = tmp_path / "dump.json"
    call_command("dumpdata", "tests.note", "tests.child", output=str(path))
    Note.objects.update(text="changed")
    call_command("loaddata", str(path), verbosity=0)
    assert Note.objects.get().text == VALUE


def test_a_damaged_value_that_masks_can_be_replaced_by_a_serializer(django_user_model):
    from rest_framework.serializers import ModelSerializer

    class Serializer(ModelSerializer):
        class Meta:
            model = MaskedNote
            fields = ("title", "text", "data")

    create_master_key("lab")
    user = django_user_model.objects.create_user("ann")
    grant("lab", user, ["encrypt", "decrypt"])
    with acting_as(user):
        note = MaskedNote.objects.create(text="abc", data={"a": 1})
        envelope = stored(note, "text")
        damaged = envelope[:-1] + bytes([envelope[-1] ^ 1])
        store(note, "text", damaged)
        for data in ({"title": "new"}, {"text": "new"}):
            assert stored(note, "text") == damaged
            serializer = Serializer(MaskedNote.objects.get(), data=data, partial=True)
            assert serializer.is_valid(), serializer.errors
            serializer.save()
        assert MaskedNote.objects.get().text == "new"
