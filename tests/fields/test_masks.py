"""`on_denied="mask"`: dots for people, and the stored value left alone."""

import copy
import json
import pickle
from contextlib import nullcontext
from types import ModuleType

import pytest
from django import forms
from django.contrib import admin
from django.contrib.admin.sites import all_sites
from django.core import serializers
from django.core.exceptions import FieldError, ValidationError
from django.db import models, transaction
from django.forms.models import model_to_dict
from django.http import QueryDict
from django.template import Context, Template
from django.test.utils import isolate_apps
from django.urls import path, reverse
from rest_framework.renderers import JSONRenderer
from rest_framework.serializers import ModelSerializer

from envelope_fields import kms
from envelope_fields.exceptions import EnvelopeError
from envelope_fields.fields import EncryptedTextField
from envelope_fields.fields.masks import DOTS, Mask
from envelope_fields.grants import grant
from envelope_fields.lifecycle import create_master_key, disable
from envelope_fields.policy import APPLICATION, acting_as
from tests.models import MaskedNote, Note
from tests.stored import stored

pytestmark = pytest.mark.django_db


@pytest.fixture
def user(django_user_model):
    return django_user_model.objects.create_user("nora")


@pytest.fixture(autouse=True)
def note():
    create_master_key("lab")
    return MaskedNote.objects.create(title="t", text="moth.", data={"a": [1]}, open="o")


@pytest.fixture
def masked(note, user):
    """The note as a user sees it who has no grant; the test goes on as that user."""
    with acting_as(user):
        yield MaskedNote.objects.get()


def column(note):
    return stored(note, "text"), stored(note, "data")


def unchanged(note):
    with acting_as(APPLICATION):
        again = MaskedNote.objects.get(pk=note.pk)
        return (again.text, again.data) == ("moth.", {"a": [1]})


class TestReading:
    def test_dots(self, masked):
        assert isinstance(masked.text, Mask)
        assert isinstance(masked.data, Mask)
        assert str(masked.text) == DOTS
        assert repr(masked.text) == "<Mask of tests.maskednote.text: ••••••••>"
        assert Template("{{ note.text }}").render(Context({"note": masked})) == DOTS
        assert masked.open == "o"

    @isolate_apps("tests")
    def test_the_text_of_an_object(self, masked):
        class Shown(MaskedNote):
            class Meta:
                app_label = "tests"
                proxy = True

            def __str__(self):
                return self.text

        shown = Shown.objects.get()
        assert (str(shown), f"{shown}", repr(shown)) == (DOTS, DOTS, f"<Shown: {DOTS}>")
        with acting_as(APPLICATION):
            assert str(shown) == "moth."

    def test_it_is_no_text(self, masked):
        assert masked.text != DOTS
        assert masked.text != masked.data
        assert masked.text

    def test_null_is_null(self, note, user):
        with acting_as(APPLICATION):
            MaskedNote.objects.filter(pk=note.pk).update(data=None)
        with acting_as(user):
            assert MaskedNote.objects.get().data is None

    def test_values(self, note, user):
        with acting_as(user):
            assert isinstance(MaskedNote.objects.values("text")[0]["text"], Mask)
            (row,) = MaskedNote.objects.values_list("text", "title")
        assert isinstance(row[0], Mask)
        assert row[1] == "t"

    def test_with_a_grant(self, masked, user):
        with acting_as(APPLICATION):
            grant("lab", user, ["decrypt"])
        masked.refresh_from_db()
        assert (masked.text, masked.data) == ("moth.", {"a": [1]})

    def test_refreshing_without(self, masked):
        masked.refresh_from_db()
        assert isinstance(masked.text, Mask)
        masked.save()
        assert unchanged(masked)

    def test_deferred(self, note, user):
        with acting_as(user):
            deferred = MaskedNote.objects.defer("text").get()
            assert isinstance(deferred.text, Mask)
            deferred.save()
        assert unchanged(note)

    @pytest.mark.parametrize(
        ("condition", "is_met"),
        [
            ({"title__gt": ""}, True),
            ({"title": "other"}, False),
            ({"text__isnull": False}, True),
            ({"text__isnull": True}, False),
        ],
    )
    def test_constraints_are_validated(self, masked, condition, is_met):
        constraint = models.CheckConstraint(condition=models.Q(**condition), name="c")
        met = nullcontext() if is_met else pytest.raises(ValidationError)
        with met:
            constraint.validate(MaskedNote, masked)

    def test_other_failures_are_raised(self, note, user):
        disable("lab")
        with acting_as(APPLICATION), pytest.raises(EnvelopeError):
            _ = MaskedNote.objects.get().text


class TestSaving:
    @pytest.mark.parametrize("fields", [None, ["text"], ["title", "text", "data"], ["title"]])
    def test_the_stored_value_stays(self, masked, fields):
        before = column(masked)
        masked.title = "new"
        masked.save(update_fields=fields)
        assert column(masked) == before
        with acting_as(APPLICATION):
            assert MaskedNote.objects.get().title == ("t" if fields == ["text"] else "new")
        assert unchanged(masked)

    def test_beside_a_new_value(self, masked, user):
        with acting_as(APPLICATION):
            grant("lab", user, ["encrypt"])
        masked.text = "new"
        masked.save()
        with acting_as(APPLICATION):
            again = MaskedNote.objects.get()
            assert (again.text, again.data) == ("new", {"a": [1]})

    def test_bulk_update(self, masked, user):
        before = column(masked)
        masked.title = "new"
        MaskedNote.objects.bulk_update([masked], ["title", "text", "data"])
        assert column(masked) == before
        assert isinstance(masked.text, Mask)
        with acting_as(APPLICATION):
            assert MaskedNote.objects.get().title == "new"

    @pytest.mark.django_db(databases=["default", "other"])
    def test_bulk_update_of_another_database_would_need_the_value(self, masked):
        with pytest.raises(FieldError, match="masked value"):
            MaskedNote.objects.using("other").bulk_update([masked], ["title", "text"])

    def test_bulk_update_without_our_queryset(self, masked):
        with pytest.raises(FieldError, match="EncryptedQuerySet"), transaction.atomic():
            MaskedNote.plain_objects.bulk_update([masked], ["text"])
        assert unchanged(masked)

    @pytest.mark.parametrize(
        "copied",
        [copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))],
    )
    def test_copies_of_the_object(self, masked, copied):
        again = copied(masked)
        again.title = "new"
        again.save()
        assert unchanged(masked)

    def test_a_copy_of_the_row(self, masked):
        masked.pk = None
        with pytest.raises(FieldError, match="copy"), transaction.atomic():
            masked.save()
        assert MaskedNote.objects.count() == 1

    def test_under_another_primary_key(self, masked):
        masked.pk += 1
        with pytest.raises(FieldError), transaction.atomic():
            masked.save()
        with acting_as(APPLICATION):
            assert MaskedNote.objects.count() == 1

    def test_assigned_to_another_object(self, masked):
        other = MaskedNote(title="other", text=masked.text)
        with pytest.raises(FieldError, match="a copy of the row"), transaction.atomic():
            other.save()
        with acting_as(APPLICATION):  # who may read it: the value is written, and no dots
            other.save()
            assert MaskedNote.objects.get(title="other").text == "moth."

    def test_a_row_that_is_gone(self, masked):
        MaskedNote.objects.all().delete()
        with pytest.raises(FieldError), transaction.atomic():
            masked.save()
        assert MaskedNote.objects.count() == 0


TEXT = MaskedNote._meta.get_field("text")


@pytest.mark.any_database
class TestElsewhere:
    def writes(self, masked, other):
        mask = masked.text
        return [
            lambda: _saved(other, text=mask),
            lambda: MaskedNote.objects.create(text=mask),
            lambda: MaskedNote.objects.bulk_create([MaskedNote(text=mask)]),
            lambda: MaskedNote.objects.update(text=mask),
            lambda: MaskedNote.objects.update(title=mask),
            lambda: MaskedNote.objects.filter(text=mask).exists(),
            lambda: MaskedNote.objects.filter(title=mask).exists(),
            lambda: MaskedNote.objects.update(
                text=models.Value(mask, masked._meta.get_field("text"))
            ),
            lambda: _saved(masked, title=mask),
            lambda: _saved(masked, open=mask),
            lambda: _saved(masked, data=mask),
            lambda: _saved(masked, data={"a": mask}),
            lambda: Note.objects.create(title=mask),
            lambda: Note.objects.create(text=mask),
            lambda: kms.encrypt("default", mask, {}),
            lambda: json.dumps({"a": mask}),
            lambda: serializers.serialize("json", [masked]),
            lambda: serializers.serialize("xml", [masked]),
        ]

    @pytest.mark.parametrize("number", range(18))
    def test_it_raises(self, masked, user, number):
        with acting_as(APPLICATION):
            other = MaskedNote.objects.create(text="def", title="other")
            grant("lab", user, ["encrypt"])
        write = self.writes(masked, other)[number]
        with pytest.raises((FieldError, TypeError)), transaction.atomic():
            write()
        with acting_as(APPLICATION):
            rows = list(MaskedNote.objects.order_by("pk").values_list("text", "title", "open"))
            assert rows == [("moth.", "t", "o"), ("def", "other", "")]
            assert Note.objects.count() == 0

    def test_there_are_as_many(self, masked):
        assert len(self.writes(masked, masked)) == 18


def _saved(note, **values):
    for name, value in values.items():
        setattr(note, name, value)
    note.save()


class NoteForm(forms.ModelForm):
    class Meta:
        model = MaskedNote
        fields = ("title", "text", "data", "open")


@pytest.mark.any_database
class TestForms:
    def test_dots_and_disabled(self, masked):
        form = NoteForm(instance=masked)
        html = form.as_p()
        assert html.count(DOTS) == 2
        assert form["text"].field.disabled
        assert not form["open"].field.disabled
        assert model_to_dict(masked)["text"] == masked.text

    def test_what_is_posted_is_ignored(self, masked):
        data = {"title": "new", "text": "evil!", "data": '{"x": 1}', "open": "p"}
        form = NoteForm(data, instance=masked)
        assert form.is_valid(), form.errors
        assert form.changed_data == ["title", "open"]
        form.save()
        assert unchanged(masked)
        assert MaskedNote.objects.defer("text", "data").get().title == "new"

    def test_another_object_shows_its_value(self, note):
        form = NoteForm(instance=note)
        assert DOTS not in form.as_p()
        assert not form["text"].field.disabled
        form = NoteForm({"title": "", "text": "toolong", "open": ""}, instance=note)
        assert "text" in form.errors

    @pytest.mark.parametrize("posted", [{}, {"text": DOTS, "data": f" {DOTS}\r\n"}])
    def test_filled_before_one_could_read_it(self, note, posted):
        """A disabled field is not posted, which must not empty it."""
        form = NoteForm({"title": "new", "open": "p", **posted}, instance=note)
        assert form.is_valid(), form.errors
        assert form.changed_data == ["title", "open"]
        form.save()
        assert unchanged(note)
        assert MaskedNote.objects.get().title == "new"

    def test_what_stays_is_not_cleaned(self, user):
        """Spaces would be taken away, for instance."""
        MaskedNote.objects.update(text=" moth ")
        form = NoteForm({"title": "new", "open": "p"}, instance=MaskedNote.objects.get())
        assert form.is_valid(), form.errors
        form.save()
        assert MaskedNote.objects.get().text == " moth "

    def test_emptied_by_whoever_may(self, note):
        form = NoteForm({"title": "t", "text": "", "data": "", "open": "o"}, instance=note)
        form.save()
        note = MaskedNote.objects.get()
        assert (note.text, note.data) == ("", None)

    def test_initial_values_stand_for_no_mask(self, masked):
        form = NoteForm(
            {"title": "t", "text": "evil!", "open": ""}, instance=masked, initial={"text": "x"}
        )
        assert form["text"].field.disabled
        assert DOTS in str(form["text"])
        form.save()
        assert unchanged(masked)

    def test_dots_are_no_value(self, note):
        form = NoteForm({"title": "t", "text": DOTS, "data": DOTS, "open": ""})
        assert list(form.errors) == ["text", "data"]
        assert "a value that you may not read" in str(form.errors["text"])

    @pytest.mark.parametrize("widget", [forms.SelectMultiple, forms.CheckboxSelectMultiple])
    def test_several_choices(self, note, user, widget):
        """Those that were disabled are not taken for none, by a user who may read them by now."""
        kind = forms.modelform_factory(
            MaskedNote, fields=["data"], field_classes={"data": Choices}, widgets={"data": widget}
        )
        MaskedNote.objects.update(data=["a"])
        with acting_as(user):
            shown = kind(instance=MaskedNote.objects.get()).as_p()
        assert shown.count('name="data"') == 1
        assert DOTS in shown
        for posted, value in (([], ["a"]), (["", "a", "b"], ["a", "b"]), ([""], [])):
            data = QueryDict(mutable=True)
            if posted:
                data.setlist("data", posted)
            form = kind(data, instance=MaskedNote.objects.get())
            assert form.is_valid(), form.errors
            form.save()
            assert MaskedNote.objects.get().data == value

    def test_fields_that_the_form_declares(self, masked, note):
        class Declaring(forms.ModelForm):
            text = forms.ChoiceField(choices=[("", "-"), ("evil!", "evil!")], required=False)
            data = forms.BooleanField(required=False)

            class Meta:
                model = MaskedNote
                fields = ("title", "text", "data")

        form = Declaring(instance=masked)
        assert form.as_p().count(DOTS) == 2
        posted = {"title": "new", "text": "evil!", "data": "on"}
        form = Declaring(posted, instance=masked)
        assert form.is_valid(), form.errors
        form.save()
        assert unchanged(masked)
        with acting_as(APPLICATION):  # which may read by now
            form = Declaring({"title": "newer"}, instance=MaskedNote.objects.get())
            assert form.is_valid(), form.errors
            form.save()
        assert unchanged(masked)

    def test_a_field_of_files_that_the_form_declares(self, masked):
        kind = forms.modelform_factory(
            MaskedNote, fields=["title", "text"], field_classes={"text": forms.FileField}
        )
        declared = type("Declaring", (kind,), {"text": forms.FileField(required=False)})
        form = declared({"title": "new"}, instance=masked)
        assert form.is_valid(), form.errors
        form.save()
        assert unchanged(masked)

    def test_formsets(self, masked):
        make = forms.modelformset_factory(MaskedNote, NoteForm, extra=1)
        data = {
            "form-TOTAL_FORMS": "2", "form-INITIAL_FORMS": "1", "form-0-id": str(masked.pk),
            "form-0-title": "new", "form-0-text": "evil!", "form-1-title": "",
        }  # fmt: skip
        formset = make(data)
        assert formset.is_valid(), formset.errors
        formset.save()
        assert unchanged(masked)
        assert MaskedNote.objects.defer("text", "data").get().title == "new"

    def test_clean(self, masked):
        masked.full_clean()
        assert isinstance(masked.text, Mask)

    def test_admin(self, masked, user, client):
        user.is_staff = user.is_superuser = True
        user.save()
        client.force_login(user)
        model_admin = admin.ModelAdmin(MaskedNote, admin.AdminSite())
        request = type("Request", (), {"user": user})()
        form = model_admin.get_form(request, masked)(instance=masked)
        assert form["text"].field.disabled
        assert DOTS in str(form["text"])


class Choices(forms.MultipleChoiceField):
    """For lists in JSON."""

    def __init__(self, *, encoder=None, decoder=None, **options):
        super().__init__(choices=[("a", "a"), ("b", "b")], **options)


class EditableNotes(admin.ModelAdmin):
    list_display = ("title", "text", "data")
    list_editable = ("text",)


class ReadOnlyNotes(admin.ModelAdmin):
    list_display = ("title", "text", "data")
    readonly_fields = ("text", "data")


@pytest.mark.any_database
class TestAdmin:
    @pytest.fixture(params=[EditableNotes, ReadOnlyNotes])
    def client(self, client, user, settings, request):
        site = admin.AdminSite()
        site.register(MaskedNote, request.param)
        settings.ROOT_URLCONF = ModuleType("tests.fields.urls_of_a_site")
        settings.ROOT_URLCONF.urlpatterns = [path("admin/", site.urls)]
        user.is_staff = user.is_superuser = True
        user.save()
        client.force_login(user)
        yield client
        all_sites.discard(site)  # it would be checked in other tests

    def test_lists(self, client, note):
        address = reverse("admin:tests_maskednote_changelist")
        page = client.get(address).text
        assert DOTS in page
        assert "moth." not in page
        posted = {
            "form-TOTAL_FORMS": "1", "form-INITIAL_FORMS": "1", "form-0-id": str(note.pk),
            "form-0-text": "evil!", "_save": "Save",
        }  # fmt: skip
        assert client.post(address, posted).status_code in (200, 302)
        assert unchanged(note)

    def test_pages(self, client, note):
        address = reverse("admin:tests_maskednote_change", args=[note.pk])
        page = client.get(address).text
        assert page.count(DOTS) == 2
        assert "moth." not in page
        posted = {"title": "new", "text": "evil!", "data": "{}", "open": "p"}
        assert client.post(address, posted).status_code == 302
        assert unchanged(note)
        assert MaskedNote.objects.defer("text", "data").get().title == "new"
        history = client.get(reverse("admin:tests_maskednote_history", args=[note.pk])).text
        assert "Title" in history
        assert "Text" not in history

    def test_a_copy_has_what_the_user_writes(self, client, note, monkeypatch):
        """Without it, it would be made with no value."""
        monkeypatch.setattr(EditableNotes, "save_as", True)
        monkeypatch.setattr(ReadOnlyNotes, "save_as", True)
        monkeypatch.setattr(ReadOnlyNotes, "readonly_fields", ())
        address = reverse("admin:tests_maskednote_change", args=[note.pk])
        posted = {"title": "copy", "open": "p", "_saveasnew": "1"}
        page = client.post(address, posted)
        assert set(page.context["adminform"].form.errors) == {"text", "data"}
        assert "This value could not be copied" in page.text
        assert client.post(address, {**posted, "text": "", "data": "{}"}).status_code == 403
        assert MaskedNote.objects.count() == 1


class NoteSerializer(ModelSerializer):
    class Meta:
        model = MaskedNote
        fields = ("title", "text", "data", "open")


@pytest.mark.any_database
class TestSerializers:
    def test_dots(self, masked):
        text = JSONRenderer().render(NoteSerializer(masked).data)
        assert json.loads(text) == {"title": "t", "text": DOTS, "data": DOTS, "open": "o"}

    def test_what_is_posted_is_ignored(self, masked):
        data = {"title": "new", "text": DOTS, "data": DOTS, "open": "p"}
        serializer = NoteSerializer(masked, data=data)
        assert serializer.is_valid(), serializer.errors
        serializer.save()
        assert unchanged(masked)
        assert MaskedNote.objects.defer("text", "data").get().title == "new"

    def test_sent_back_by_whoever_may_read_by_now(self, note):
        serializer = NoteSerializer(note, {"title": "new", "text": DOTS, "data": DOTS, "open": "p"})
        assert serializer.is_valid(), serializer.errors
        serializer.save()
        assert unchanged(note)

    def test_dots_are_no_value(self, note):
        serializer = NoteSerializer(data={"title": "new", "text": DOTS, "data": DOTS})
        assert not serializer.is_valid()
        assert set(serializer.errors) == {"text", "data"}

    def test_who_may_reads_and_writes(self, note):
        assert NoteSerializer(note).data["text"] == "moth."
        serializer = NoteSerializer(note, data={"text": "def"}, partial=True)
        assert serializer.is_valid()
        serializer.save()
        assert MaskedNote.objects.get().text == "def"


@isolate_apps("tests")
def test_another_choice_is_an_error():
    """envelope_fields.E008"""

    class Odd(models.Model):
        text = EncryptedTextField(on_denied="hide")

        class Meta:
            app_label = "tests"

    (error,) = [error for error in Odd.check() if error.id == "envelope_fields.E008"]
    assert "'raise', 'mask'" in error.hint


def test_deconstruct():
    field = MaskedNote._meta.get_field("text")
    assert field.deconstruct()[3]["on_denied"] == "mask"
    assert "on_denied" not in Note._meta.get_field("text").deconstruct()[3]
    assert "on_denied" in field.non_db_attrs
