"""What pages and answers show for a value that cannot be opened, and what is posted back."""

import pytest
from django.contrib import admin
from django.contrib.admin.sites import all_sites
from django.core.exceptions import FieldError, ValidationError
from django.db import transaction
from django.forms import BooleanField, ModelForm
from django.forms.models import model_to_dict
from django.utils.translation import override
from rest_framework.renderers import JSONRenderer
from rest_framework.serializers import ModelSerializer

from envelope_fields.exceptions import EnvelopeError
from envelope_fields.fields.admin import EncryptedAdminMixin
from envelope_fields.fields.masks import Unopened, shown
from envelope_fields.fields.rest_framework import EncryptedSerializerMixin
from envelope_fields.lifecycle import create_master_key, disable, enable
from envelope_fields.policy import APPLICATION, acting_as
from tests.models import Child, LabNote, Note
from tests.stored import store, stored

pytestmark = pytest.mark.django_db

WORDS = "⚠ cannot be opened"


class NoteAdmin(EncryptedAdminMixin, admin.ModelAdmin):
    list_display = ("title", "text")
    sortable_by = ("title",)


class ChildInline(EncryptedAdminMixin, admin.TabularInline):
    model = Child
    extra = 0


class EditableAdmin(EncryptedAdminMixin, admin.ModelAdmin):
    list_display = ("title", "text", "data")
    list_editable = ("text",)
    inlines = (ChildInline,)


class ReadOnlyAdmin(EncryptedAdminMixin, admin.ModelAdmin):
    readonly_fields = ("text", "data")


class ChildAdmin(EncryptedAdminMixin, admin.ModelAdmin):
    list_display = ("id", "note", "note__text")


class NoteSerializer(EncryptedSerializerMixin, ModelSerializer):
    class Meta:
        model = Note
        fields = ("id", "title", "text", "data")


@pytest.fixture
def rows():
    fine = Note.objects.create(title="fine", text="value", data={"a": 1})
    bad = Note.objects.create(title="bad", text="value", data={"a": 1})
    for name in ("text", "data"):
        envelope = stored(bad, name)
        store(bad, name, envelope[:-1] + bytes([envelope[-1] ^ 1]))
    return fine, bad


@pytest.fixture
def pages(rf, admin_user, settings):
    settings.ROOT_URLCONF = "tests.fields.test_unopened"

    def get(view, *args, data=None, by=NoteAdmin, model=Note):
        site = admin.AdminSite(name="admin")
        all_sites.discard(site)
        site.register(model, by)
        made = site._registry[model]
        request = rf.get("/") if data is None else rf.post("/", data)
        request.user = admin_user
        request._dont_enforce_csrf_checks = True
        request.session, request._messages = {}, Messages()
        with acting_as(admin_user):
            response = getattr(made, view)(request, *args)
            return response.render().content.decode() if hasattr(response, "render") else response

    return get


class Messages(list):
    def add(self, *args):
        self.append(args)


site = admin.AdminSite(name="admin")
site.register(Note, NoteAdmin)
site.register(Child, ChildAdmin)
all_sites.discard(site)  # tests of checks look at all there are
urlpatterns: list = []


class TestTheAdmin:
    @pytest.fixture(autouse=True)
    def _urls(self, monkeypatch):
        from django.urls import path

        monkeypatch.setattr("tests.fields.test_unopened.urlpatterns", [path("admin/", site.urls)])

    def test_a_list(self, rows, pages):
        page = pages("changelist_view")
        assert "value" in page
        assert f"{WORDS}: tests.Note.text" in page  # the user may view the key

    def test_a_form_is_disabled_and_saves_the_rest(self, rows, pages):
        _, bad = rows
        page = pages("change_view", str(bad.pk))
        assert WORDS in page
        assert page.count(" disabled") >= 2
        before = stored(bad, "text"), stored(bad, "data")
        response = pages("change_view", str(bad.pk), data={"title": "new"})
        assert response.status_code == 302
        assert (stored(bad, "text"), stored(bad, "data")) == before
        assert Note.objects.values_list("title", flat=True).get(pk=bad.pk) == "new"

    def test_a_field_that_its_form_declares(self, rows, pages):
        _, bad = rows

        class Declaring(ModelForm):
            data = BooleanField(required=False)

        kind = type("DeclaringAdmin", (NoteAdmin,), {"form": Declaring})
        assert pages("change_view", str(bad.pk), by=kind).count(WORDS) >= 2
        before = stored(bad, "data")
        assert pages("change_view", str(bad.pk), data={"title": "new"}, by=kind).status_code == 302
        assert stored(bad, "data") == before

    def test_one_that_opens_by_the_time_it_is_posted(self, pages):
        note = Note.objects.create(title="t", text="value", data={"a": 1})
        disable("default")
        assert WORDS in pages("change_view", str(note.pk))
        enable("default")
        assert pages("change_view", str(note.pk), data={"title": "new"}).status_code == 302
        assert Note.objects.get().text == "value"
        data = {"title": "new", "text": WORDS, "data": '{"b": 1}'}
        assert pages("change_view", str(note.pk), data=data).status_code == 302
        assert Note.objects.get().text == "value"

    def test_one_that_opens_no_more_when_it_is_posted(self, pages):
        """What was written meanwhile would be gone, and the page say that it was saved."""
        note = Note.objects.create(title="t", text="value", data={"a": 1})
        disable("default")
        page = pages("change_view", str(note.pk), data={"title": "new", "text": "written"})
        assert "This was not saved" in page
        assert "written" in page
        assert pages("change_view", str(note.pk), data={"title": "new"}).status_code == 302
        enable("default")
        assert list(Note.objects.values_list("title", "text")) == [("new", "value")]

    def test_a_copy(self, rows, pages):
        """Without its value, it would be made with none."""
        kind = type("CopyingAdmin", (NoteAdmin,), {"save_as": True})
        data = {"title": "copy", "data": "[1]", "_saveasnew": "1"}
        page = pages("change_view", str(rows[1].pk), data=data, by=kind)
        assert "This value could not be copied" in page
        assert Note.objects.count() == 2
        response = pages("change_view", str(rows[1].pk), data={**data, "text": "mine"}, by=kind)
        assert response.status_code == 302
        assert Note.objects.latest("pk").text == "mine"

    @pytest.mark.parametrize("option", ["radio_fields", "raw_id_fields", "readonly_fields"])
    def test_the_text_of_a_related_object(self, rows, pages, monkeypatch, option):
        monkeypatch.setattr(Note, "__str__", lambda note: f"{note.text}")
        child = Child.objects.create(note=rows[1], text="child")
        options = {"list_display": ["id", "note"], "list_filter": ["note"]}
        kind = type("RelatedAdmin", (ChildAdmin,), options)
        setattr(kind, option, {"note": admin.VERTICAL} if option == "radio_fields" else ["note"])
        assert WORDS in pages("change_view", str(child.pk), by=kind, model=Child)
        assert pages("changelist_view", by=kind, model=Child).count(WORDS) == 2

    def test_what_is_deleted_with_an_object(self, rows, pages, monkeypatch):
        monkeypatch.setattr(Child, "__str__", lambda child: f"{child.text}")
        child = Child.objects.create(note=rows[0], text="child")
        store(child, "text", stored(rows[1], "text"))
        assert WORDS in pages("delete_view", str(rows[0].pk))
        chosen = {"action": "delete_selected", "_selected_action": rows[0].pk}
        assert WORDS in pages("changelist_view", data=chosen)

    def test_what_is_edited_in_the_list(self, rows, pages):
        fine, bad = rows
        assert WORDS in pages("changelist_view", by=EditableAdmin)
        before = stored(bad, "text")
        data = {
            "form-TOTAL_FORMS": 2,
            "form-INITIAL_FORMS": 2,
            "form-0-id": bad.pk,
            "form-1-id": fine.pk,
            "form-1-text": "changed",
            "_save": "Save",
        }
        assert pages("changelist_view", data=data, by=EditableAdmin).status_code == 302
        assert stored(bad, "text") == before
        assert Note.objects.get(pk=fine.pk).text == "changed"

    def test_inlines(self, rows, pages):
        _, bad = rows
        child = Child.objects.create(note=bad, text="child")
        store(child, "text", stored(bad, "text"))
        assert pages("change_view", str(bad.pk), by=EditableAdmin).count(WORDS) >= 3
        before = stored(child, "text"), stored(bad, "text"), stored(bad, "data")
        data = {
            "title": "new",
            "children-TOTAL_FORMS": 2,
            "children-INITIAL_FORMS": 1,
            "children-0-id": child.pk,
            "children-0-note": bad.pk,
            "children-1-note": bad.pk,
            "children-1-text": "second",
        }
        response = pages("change_view", str(bad.pk), data=data, by=EditableAdmin)
        assert response.status_code == 302
        assert (stored(child, "text"), stored(bad, "text"), stored(bad, "data")) == before
        assert bad.children.count() == 2

    def test_what_is_only_read(self, rows, pages):
        fine, bad = rows
        assert "value" in pages("change_view", str(fine.pk), by=ReadOnlyAdmin)
        assert pages("change_view", str(bad.pk), by=ReadOnlyAdmin).count(WORDS) == 2

    @pytest.mark.parametrize("chosen", [False, True, ("note",)])
    def test_a_column_of_a_related_object(self, rows, pages, chosen, monkeypatch):
        monkeypatch.setattr(ChildAdmin, "list_select_related", chosen)
        for note in rows:
            Child.objects.create(note=note, text="child")
        page = pages("changelist_view", by=ChildAdmin, model=Child)
        assert "value" in page
        assert WORDS in page


class TestSerializers:
    def test_answers(self, rows):
        fine, bad = NoteSerializer(Note.objects.order_by("pk"), many=True).data
        assert (fine["text"], fine["data"]) == ("value", {"a": 1})
        assert bad["text"].startswith(WORDS)
        assert bad["data"].startswith(WORDS)
        assert WORDS.encode() in JSONRenderer().render([bad])

    def test_an_object_within_itself(self, rows):
        class Nesting(NoteSerializer):
            whole = NoteSerializer(source="*")

            class Meta(NoteSerializer.Meta):
                fields = ("whole", *NoteSerializer.Meta.fields)

        note = Note.objects.get(pk=rows[1].pk)
        data = Nesting(note).data
        assert data["text"] == data["whole"]["text"]
        assert data["text"].startswith(WORDS)
        with pytest.raises(EnvelopeError):
            _ = note.text

    def test_what_depth_makes(self, rows):
        class ChildSerializer(EncryptedSerializerMixin, ModelSerializer):
            class Meta:
                model = Child
                fields = "__all__"
                depth = 1

        class Nesting(ModelSerializer):
            def build_nested_field(self, *args):
                return NoteSerializer, {"read_only": True}

        class NestingSerializer(EncryptedSerializerMixin, Nesting):
            Meta = ChildSerializer.Meta

        child = Child.objects.create(note=rows[1], text="fine")
        for kind in (ChildSerializer, NestingSerializer):
            data = kind(Child.objects.get(pk=child.pk)).data
            assert (data["text"], data["note"]["title"]) == ("fine", "bad")
            assert data["note"]["text"].startswith(WORDS)

    def test_input(self, rows):
        serializer = NoteSerializer(data={"title": "t", "text": WORDS, "data": {}})
        assert not serializer.is_valid()
        assert "text" in serializer.errors


class TestTheCause:
    def test_for_those_who_may_view_the_key(self, django_user_model):
        create_master_key("lab")
        user = django_user_model.objects.create_user("nora")
        with acting_as(APPLICATION):
            LabNote.objects.create(text="value")
        note = LabNote.objects.get()
        with acting_as(user), shown(note):
            assert str(note.text) == WORDS
        disable("lab")
        with acting_as(APPLICATION), shown(note):
            assert str(note.text).startswith(f"{WORDS}: tests.LabNote.text: ")

    def test_only_while_it_is_shown(self, rows):
        note = Note.objects.get(pk=rows[1].pk)
        with shown(note):
            assert isinstance(note.text, Unopened)
        with pytest.raises(EnvelopeError):
            _ = note.text


class TestTheWords:
    @pytest.mark.parametrize("text", [WORDS, f" {WORDS}\n", f"{WORDS}: tests.Note.text: altered"])
    def test_are_refused_as_a_value(self, rows, text):
        note = Note.objects.get(pk=rows[0].pk)
        assert note.text
        note.text = text
        with pytest.raises(FieldError, match="cannot be opened"), transaction.atomic():
            note.save()
        with pytest.raises(ValidationError):
            note.full_clean()
        with pytest.raises(FieldError), transaction.atomic():
            Note.objects.create(text=text)

    def test_do_not_replace_what_was_not_opened(self, rows):
        note = Note.objects.get(pk=rows[1].pk)
        before = stored(note, "text")
        note.text = WORDS
        note.save()
        assert stored(note, "text") == before

    def test_in_another_language(self, rows, monkeypatch):
        with override("de"):
            Note.objects.create(text="cannot be opened")  # words of a person
            with pytest.raises(FieldError), transaction.atomic():
                Note.objects.create(text=WORDS)

    def test_an_unopened_value_is_written_nowhere_else(self, rows):
        note = Note.objects.get(pk=rows[1].pk)
        with shown(note):
            unopened = note.text
        with pytest.raises(FieldError), transaction.atomic():
            Note.objects.create(text=unopened)
        with pytest.raises(FieldError), transaction.atomic():
            Note.objects.create(title=unopened)
        assert model_to_dict(rows[0])["text"] == "value"
