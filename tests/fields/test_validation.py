"""What stands for a value is never encrypted in its place: dots, the text of an envelope, bytes."""

import copy
import json
import pickle
from collections import UserString

import pytest
from django import forms
from django.core.exceptions import FieldError, ValidationError
from django.db import connection, models, transaction
from django.db.models import Value
from django.utils.functional import lazystr
from rest_framework import serializers

from envelope_fields.fields import EncryptedJSONField
from envelope_fields.fields.masks import DOTS, Mask
from envelope_fields.fields.sealed import SealedValue
from envelope_fields.grants import grant
from envelope_fields.lifecycle import create_master_key
from envelope_fields.policy import APPLICATION, acting_as
from tests.models import Birth, Keyword, MaskedNote, Note
from tests.stored import stored

pytestmark = pytest.mark.django_db

TEXT = Note._meta.get_field("text")
BYTES = [b"data", b"", bytearray(b"data"), memoryview(b"data")]


def named(value):
    """Name a case: the same in each worker, where a repr may show an address."""
    return f"{type(value).__name__} {bytes(value)!r}" if isinstance(value, memoryview) else None


@pytest.fixture
def envelope():
    return TEXT.value_to_string(Note(text="another secret"))


def saved(row, **values):
    for name, value in values.items():
        setattr(row, name, value)
    row.save()


def upsert(word, text):
    options = {"update_conflicts": True, "update_fields": ["text"]}
    if connection.features.supports_update_conflicts_with_target:
        options["unique_fields"] = ["word"]
    Keyword.objects.bulk_create([Keyword(word=word, text=text)], **options)


def bulk_updated(row, text):
    row.text = text
    type(row).objects.bulk_update([row], ["text"])


WRITES = {
    "create": lambda row, value: Note.objects.create(text=value),
    "save": lambda row, value: saved(row, text=value),
    "save, one field": lambda row, value: Note(pk=row.pk, text=value).save(update_fields=["text"]),
    "update": lambda row, value: Note.objects.update(text=value),
    "typed": lambda row, value: Note.objects.update(text=Value(value, TEXT)),
    "bulk_create": lambda row, value: Note.objects.bulk_create([Note(text="x"), Note(text=value)]),
    "bulk_update": bulk_updated,
    "get_or_create": lambda row, value: Note.objects.get_or_create(
        title="new", defaults={"text": value}
    ),
    "upsert": lambda row, value: upsert("a", value),
    "dump": lambda row, value: TEXT.value_to_string(Note(text=value)),
}


@pytest.fixture
def note():
    return Note.objects.create(title="t", text="before", data={"a": 1})


class TestTheTextOfAnEnvelope:
    @pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
    @pytest.mark.parametrize("form", ["{}", " {}\n"])
    def test_it_is_refused(self, note, envelope, write, form):
        before = stored(note, "text")
        with (
            pytest.raises(FieldError, match=r"\.text: the value is the text of an envelope"),
            transaction.atomic(),
        ):
            write(note, form.format(envelope))
        assert stored(note, "text") == before
        assert (Note.objects.count(), Keyword.objects.count()) == (1, 0)

    def test_in_json(self, note, envelope):
        for write in (
            lambda: Note.objects.update(data=envelope),
            lambda: saved(note, data=envelope),
        ):
            with pytest.raises(FieldError, match=r"Note\.data"), transaction.atomic():
                write()
        Note.objects.update(data={"copied from a log": envelope})  # a part of a value
        assert Note.objects.get().data == {"copied from a log": envelope}

    @pytest.mark.parametrize(
        "text", ["envelope:", "envelope:abc", "envelope: a letter", "Envelope:"]
    )
    def test_what_only_begins_like_one(self, text):
        note = Note.objects.create(text=text)
        assert Note.objects.get(pk=note.pk).text == text

    def test_a_form_says_so(self, note, envelope):
        class NoteForm(forms.ModelForm):
            class Meta:
                model = Note
                fields = ("text", "data")

        form = NoteForm({"text": envelope, "data": json.dumps(envelope)}, instance=note)
        assert set(form.errors) == {"text", "data"}
        assert "text of an encrypted value" in str(form.errors["text"])

    def test_a_form_with_a_field_of_its_own_says_so(self, envelope):
        class NoteForm(forms.ModelForm):
            text = forms.CharField()

            class Meta:
                model = Note
                fields = ("text",)

        assert set(NoteForm({"text": envelope}).errors) == {"text"}

    def test_a_serializer_says_so(self, envelope):
        class NoteSerializer(serializers.ModelSerializer):
            class Meta:
                model = Note
                fields = ("text", "data")

        serializer = NoteSerializer(data={"text": envelope, "data": envelope})
        assert not serializer.is_valid()
        assert set(serializer.errors) == {"text", "data"}
        assert NoteSerializer(data={"text": "a", "data": {}}).is_valid()

    @pytest.mark.parametrize("disguised", [lazystr, UserString])
    def test_what_becomes_its_text_is_refused(self, note, envelope, disguised):
        """A text field stores the text of any object."""
        with pytest.raises(FieldError, match="text of an envelope"), transaction.atomic():
            Note.objects.update(text=disguised(f" {envelope}"))
        note.text = disguised("of another type")
        note.save()
        assert Note.objects.get().text == "of another type"


@pytest.mark.any_database
class TestBytes:
    @pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
    @pytest.mark.parametrize("value", BYTES, ids=named)
    def test_they_are_refused(self, note, write, value):
        before = stored(note, "text")
        with (
            pytest.raises(TypeError, match=r"\.text: bytes are not a value"),
            transaction.atomic(),
        ):
            write(note, value)
        assert stored(note, "text") == before
        assert (Note.objects.count(), Keyword.objects.count()) == (1, 0)

    def test_cleaning(self):
        note = Note(text=b"data", data={"a": 1})
        with pytest.raises(ValidationError) as caught:
            note.full_clean()
        assert set(caught.value.message_dict) == {"text"}
        with pytest.raises(TypeError, match=r"tests\.Note\.text"):
            TEXT.to_python(b"data")

    def test_other_types(self):
        with pytest.raises(TypeError, match=r"tests\.Birth\.grams"), transaction.atomic():
            Birth.objects.create(grams=b"5")
        with pytest.raises(TypeError, match=r"tests\.Note\.data"), transaction.atomic():
            Note.objects.create(data=b"data")


class LooseForm(forms.ModelForm):
    """Has a field of its own, which knows nothing of masks."""

    text = forms.CharField(required=False)

    class Meta:
        model = MaskedNote
        fields = ("title", "text")


class LooseSerializer(serializers.ModelSerializer):
    text = serializers.CharField()
    data = serializers.CharField(required=False)

    class Meta:
        model = MaskedNote
        fields = ("title", "text", "data")


MASK = Mask(SealedValue(MaskedNote._meta.get_field("text"), b""))


@pytest.mark.any_database
class TestDots:
    @pytest.fixture
    def user(self, django_user_model):
        return django_user_model.objects.create_user("nora")

    @pytest.fixture(autouse=True)
    def secret(self):
        create_master_key("lab")
        return MaskedNote.objects.create(title="t", text="abc", data={"a": [1]})

    @pytest.fixture
    def masked(self, secret, user):
        with acting_as(APPLICATION):
            grant("lab", user, ["encrypt"])
        with acting_as(user):
            yield MaskedNote.objects.get()

    def unchanged(self):
        with acting_as(APPLICATION):
            return MaskedNote.objects.values_list("text", "data").get() == ("abc", {"a": [1]})

    def test_over_a_mask_it_stays(self, masked):
        masked.title, masked.text, masked.data = "new", str(masked.text), f" {masked.data}\n"
        assert isinstance(masked.text, Mask)
        assert isinstance(masked.data, Mask)
        masked.save()
        assert self.unchanged()
        assert MaskedNote.objects.defer("text", "data").get().title == "new"

    def test_a_form_with_a_field_of_its_own(self, masked):
        form = LooseForm(instance=masked)
        assert DOTS in form.as_p()
        form = LooseForm({"title": "new", "text": DOTS}, instance=masked)
        assert form.is_valid(), form.errors
        form.save()
        assert self.unchanged()

    def test_that_form_sent_by_who_may_read_by_now(self, secret):
        form = LooseForm({"title": "new", "text": DOTS}, instance=secret)
        assert set(form.errors) == {"text"}
        assert "a value that you may not read" in str(form.errors["text"])
        assert set(LooseForm({"title": "new", "text": DOTS}).errors) == {"text"}

    def test_a_serializer_with_a_field_of_its_own(self, masked):
        sent_back = {**LooseSerializer(masked).data, "title": "new"}
        assert sent_back["text"] == sent_back["data"] == DOTS
        serializer = LooseSerializer(masked, data=sent_back)
        serializer.is_valid(raise_exception=True)
        serializer.save()
        assert self.unchanged()

    @pytest.mark.parametrize(
        "write",
        [
            lambda secret, dots: saved(secret, text=dots),
            lambda secret, dots: saved(secret, data={"a": [{"b": dots}]}),
            lambda secret, dots: saved(secret, data={dots: 1}),
            lambda secret, dots: MaskedNote.objects.update(text=dots),
            lambda secret, dots: MaskedNote.objects.update(data=dots),
            lambda secret, dots: MaskedNote.objects.update(
                text=Value(dots, MaskedNote._meta.get_field("text"))
            ),
            bulk_updated,
            lambda secret, dots: MaskedNote.objects.create(text=dots),
            lambda secret, dots: MaskedNote.objects.bulk_create([MaskedNote(text=dots)]),
            lambda secret, dots: MaskedNote._meta.get_field("text").value_to_string(
                MaskedNote(text=dots)
            ),
        ],
    )
    @pytest.mark.parametrize("form", ["{}", " {}\n", "{}, and more"])
    def test_they_are_refused(self, secret, write, form):
        named = r"tests\.MaskedNote\.(text|data): .*dots"
        with pytest.raises(FieldError, match=named), transaction.atomic():
            write(secret, form.format(DOTS))
        assert self.unchanged()
        assert MaskedNote.objects.count() == 1

    @pytest.mark.parametrize(
        "value",
        [
            lazystr(DOTS),
            UserString(DOTS),
            [DOTS],
            repr(MASK),
            [MASK],
            json.dumps(DOTS),
        ],
        ids=["lazy", "string-like", "list", "repr", "list of masks", "JSON"],
    )
    def test_what_becomes_dots_is_refused(self, secret, value):
        with pytest.raises(FieldError, match="dots"), transaction.atomic():
            saved(secret, text=value)
        assert self.unchanged()

    def test_an_encoder_that_writes_dots(self):
        """One that makes text of whatever it does not know."""

        class Encoder(json.JSONEncoder):
            def default(self, value):
                return str(value)

        class Result(models.Model):
            data = EncryptedJSONField(key="lab", on_denied="mask", encoder=Encoder)

            class Meta:
                app_label = "results"
                managed = False

        field = Result._meta.get_field("data")
        for value in ({"a": Mask("a.b.c")}, {"a": lazystr(DOTS)}):
            with pytest.raises(FieldError, match="dots"):
                field.value_to_string(Result(data=value))

    def test_a_mask_with_something_added(self, masked):
        with pytest.raises(FieldError, match="dots"), transaction.atomic():
            saved(masked, text=f"{masked.text} and more")
        assert self.unchanged()

    def test_in_a_field_that_masks_nothing_they_are_text(self):
        note = Note.objects.create(text=DOTS, data=[DOTS])
        note.refresh_from_db()
        assert (note.text, note.data) == (DOTS, [DOTS])

    def test_assigning_a_mask_never_raises(self, masked, user):
        """Packages build objects of another model with what they find, and may not save them."""
        with acting_as(APPLICATION):
            other = MaskedNote.objects.create(text="def")
        for row in (other, Note(), MaskedNote()):
            row.text = masked.text
            assert str(row.text) == DOTS
        with pytest.raises(FieldError, match="another object"), transaction.atomic():
            other.save()
        masked.save()
        assert self.unchanged_beside(other)

    def unchanged_beside(self, other):
        with acting_as(APPLICATION):
            return dict(MaskedNote.objects.values_list("pk", "text")) == {
                MaskedNote.objects.order_by("pk")[0].pk: "abc",
                other.pk: "def",
            }

    @pytest.mark.parametrize("copied", [copy.deepcopy, lambda row: pickle.loads(pickle.dumps(row))])
    def test_a_copy_of_an_object_with_the_mask_of_another(self, masked, copied):
        with acting_as(APPLICATION):
            other = MaskedNote.objects.create(text="def")
        other.text = masked.text
        with pytest.raises(FieldError, match="another object"), transaction.atomic():
            copied(other).save()
        assert self.unchanged_beside(other)

    def test_masks_of_one_value_are_equal(self, masked):
        again = MaskedNote.objects.get()
        assert again.text == masked.text
        assert len({again.text, masked.text, masked.data}) == 2
        assert again.text != again.data
        assert Mask(SealedValue(MASK.sealed.field, b"other")) != MASK

    def test_json_that_has_itself_inside(self, secret):
        circle = []
        circle.append(circle)
        with pytest.raises((ValueError, TypeError), match=r"MaskedNote\.data"):
            saved(secret, data=circle)

    def test_the_attribute_is_there_after_saving(self, masked, django_assert_num_queries):
        """From 6.0 on, Django reads expressions back, or forgets the attribute."""
        masked.title = "new"
        masked.save()
        assert isinstance(masked.text, Mask)
        masked.save(update_fields=["text", "data"])
        assert isinstance(masked.data, Mask)
        assert self.unchanged()


def test_a_text_that_a_subclass_prepares():
    """What a subclass makes of a value before it is stored cannot bring a stand-in about."""

    class Shouting(type(TEXT)):
        def get_prep_value(self, value):
            return value.upper()

    class Shout(models.Model):
        text = Shouting()

        class Meta:
            app_label = "shouts"
            managed = False

    field = Shout._meta.get_field("text")
    assert field.to_plaintext("a") == b"A"
    with pytest.raises(TypeError, match="bytes are not a value"):
        field.value_to_string(Shout(text=b"a"))
