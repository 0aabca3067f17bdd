"""Forms, the admin, DRF and everything else that asks a field what it is."""

import logging
import traceback
from datetime import date

import pytest
from django.core.exceptions import FieldError, ValidationError
from django.db import models, transaction
from django.db.migrations.writer import MigrationWriter
from django.forms import modelform_factory
from django.test import RequestFactory
from django.test.utils import isolate_apps
from django.views.debug import ExceptionReporter
from rest_framework import serializers

from envelope_fields.exceptions import EnvelopeError
from envelope_fields.fields import EncryptedJSONField, EncryptedTextField
from envelope_fields.lifecycle import disable
from envelope_fields.models import MasterKey
from tests.models import DateDecoder, DateEncoder, Declared, Note, TenantNote
from tests.models.tenants import tenant_alias
from tests.stored import stored

pytestmark = pytest.mark.django_db

# Error reports quote lines of source, so the word that is searched for stands in none of them.
HIDDEN = "plain".upper() + "-value"

NoteForm = modelform_factory(Note, fields=["title", "text", "data"])
DeclaredForm = modelform_factory(Declared, fields=["short", "choice", "nullable", "dates"])


@isolate_apps("tests")
def test_form_fields_are_those_of_the_plain_fields():
    class Plain(models.Model):
        short = models.TextField(max_length=5, blank=True)
        choice = models.TextField(choices=[("a", "Alpha"), ("b", "Beta")], default="a")
        nullable = models.TextField(null=True, blank=True, verbose_name="may be null")
        dates = models.JSONField(encoder=DateEncoder, decoder=DateDecoder, null=True, blank=True)

        class Meta:
            app_label = "tests"
            managed = False

    plain = modelform_factory(Plain, fields=["short", "choice", "nullable", "dates"])()
    ours = DeclaredForm()
    for name, field in plain.fields.items():
        other = ours.fields[name]
        assert type(other) is type(field)
        assert type(other.widget) is type(field.widget)
        assert other.widget.attrs == field.widget.attrs
        assert (other.required, other.label, other.initial) == (
            field.required, field.label, field.initial,
        )  # fmt: skip


def test_a_form_saves_and_shows():
    form = NoteForm({"title": "t", "text": "from a form", "data": '{"a": [1]}'})
    note = form.save()
    note.refresh_from_db()
    assert (note.text, note.data) == ("from a form", {"a": [1]})
    shown = str(NoteForm(instance=note))
    assert "from a form" in shown
    assert "envelope" not in shown


def test_validation_refuses_and_poisons_nothing():
    form = DeclaredForm({"short": "x", "choice": "z", "dates": "{bad"})
    assert set(form.errors) == {"short", "choice", "dates"}
    assert DeclaredForm({"short": "too long", "choice": "a"}).errors["short"]
    for _ in range(2):
        with pytest.raises(ValidationError) as caught:
            Declared(short="x", choice="z").full_clean()
        assert set(caught.value.message_dict) == {"short", "choice"}
    good = Declared(short="okay", choice="b", dates={"on": date(2026, 1, 2)})
    good.full_clean()
    good.save()
    good = Declared.objects.get(pk=good.pk)
    assert (good.short, good.choice, good.get_choice_display()) == ("okay", "b", "Beta")
    assert good.dates == {"on": date(2026, 1, 2)}


def test_defaults_are_those_of_the_declaration():
    note = Note()
    assert note.data == {}
    assert note.data is not Note().data
    assert note.text == ""
    assert Declared().choice == "a"


class NoteSerializer(serializers.ModelSerializer):
    class Meta:
        model = Note
        fields = ["id", "title", "text", "data"]


class DeclaredSerializer(serializers.ModelSerializer):
    class Meta:
        model = Declared
        fields = ["short", "choice", "nullable", "dates"]


def test_drf():
    fields = DeclaredSerializer().fields
    assert type(fields["short"]) is serializers.CharField
    assert fields["short"].max_length == 5
    assert fields["short"].style == {"base_template": "textarea.html"}
    assert type(fields["choice"]) is serializers.ChoiceField
    assert fields["nullable"].allow_null
    assert type(fields["dates"]) is serializers.JSONField
    assert fields["dates"].encoder is DateEncoder
    assert not DeclaredSerializer(data={"short": "x", "choice": "a"}).is_valid()

    serializer = NoteSerializer(data={"text": "drf", "data": {"a": [0, None]}})
    serializer.is_valid(raise_exception=True)
    note = serializer.save()
    assert isinstance(stored(note, "text"), bytes)
    assert NoteSerializer(Note.objects.get()).data["data"] == {"a": [0, None]}
    assert NoteSerializer(Note.objects.get()).data["text"] == "drf"


def test_admin(admin_client):
    answer = admin_client.post(
        "/admin/tests/note/add/", {"title": "t", "text": "from the admin", "data": "[1, 2]"}
    )
    assert answer.status_code == 302
    note = Note.objects.get()
    assert (note.text, note.data) == ("from the admin", [1, 2])
    page = admin_client.get(f"/admin/tests/note/{note.pk}/change/")
    assert "from the admin" in page.content.decode()
    assert "vLargeTextField" in page.content.decode()
    answer = admin_client.post(
        f"/admin/tests/note/{note.pk}/change/", {"title": "t", "text": "changed", "data": "[3]"}
    )
    note.refresh_from_db()
    assert (note.text, note.data) == ("changed", [3])
    assert admin_client.get("/admin/tests/note/").status_code == 200


def test_deconstruct():
    field = EncryptedTextField(
        blank=True, key=tenant_alias, context="a.b.c", previous_contexts=["a.b.d"], max_length=9
    )
    field.set_attributes_from_name("text")
    name, path, args, kwargs = field.deconstruct()
    assert (name, path, args) == ("text", "envelope_fields.fields.EncryptedTextField", [])
    assert kwargs == {
        "blank": True,
        "key": tenant_alias,
        "context": "a.b.c",
        "previous_contexts": ("a.b.d",),
        "max_length": 9,
    }
    again = field.clone()
    assert again.deconstruct()[1:] == field.deconstruct()[1:]
    assert "tenant_alias" in MigrationWriter.serialize(field)[0]
    plain = EncryptedJSONField(encoder=DateEncoder)
    assert plain.deconstruct()[3] == {"encoder": DateEncoder}
    assert plain.deconstruct()[1] == "envelope_fields.fields.EncryptedJSONField"


def test_a_field_is_what_it_extends():
    assert issubclass(EncryptedTextField, models.TextField)
    assert issubclass(EncryptedJSONField, models.JSONField)
    assert Note._meta.get_field("text").label == "tests.note.text"


def failed_save(note):
    """Save under a key that is disabled, and return the error report that Django makes of it."""
    disable(MasterKey.objects.get(alias="default"))
    try:
        note.save()
    except Exception as error:
        request = RequestFactory().post("/", {"anything": "else"})
        reporter = ExceptionReporter(request, type(error), error, error.__traceback__)
        return reporter.get_traceback_html() + reporter.get_traceback_text()
    raise AssertionError("it saved")


@pytest.mark.parametrize("new", [True, False])
def test_the_error_report_of_a_failed_save_shows_no_plaintext(new):
    note = Note(text=HIDDEN, data={HIDDEN: HIDDEN})
    if not new:
        note.save()
    report = failed_save(note)
    assert "MasterKeyUnusable" in report
    assert HIDDEN not in report


def test_the_error_report_of_a_failed_bulk_create_shows_no_plaintext():
    disable(MasterKey.objects.get(alias="default"))
    try:
        Note.objects.bulk_create([Note(text=HIDDEN, data={HIDDEN: HIDDEN})])
    except Exception as error:
        reporter = ExceptionReporter(None, type(error), error, error.__traceback__)
    assert HIDDEN not in reporter.get_traceback_html()


def test_our_frames_of_failed_bulk_updates_and_dumps_show_no_plaintext():
    note = TenantNote(pk=1, tenant="nobody", text=HIDDEN, data=[HIDDEN])
    for act in (
        lambda: TenantNote.objects.bulk_update([note], ["text", "data"]),
        lambda: TenantNote._meta.get_field("text").value_to_string(note),
        lambda: TenantNote.objects.filter(text=HIDDEN),
        lambda: TenantNote.objects.update(text=HIDDEN),
    ):
        with pytest.raises((EnvelopeError, FieldError)) as caught, transaction.atomic():
            act()
        frames = [
            repr(frame.f_locals)
            for frame, _ in traceback.walk_tb(caught.tb)
            if frame.f_globals["__name__"].startswith("envelope_fields")
        ]
        assert frames
        assert not [each for each in frames if HIDDEN in each]
    assert note.text == HIDDEN


def test_the_log_of_statements_shows_no_plaintext(caplog, settings):
    settings.DEBUG = True
    with caplog.at_level(logging.DEBUG, logger="django.db.backends"):
        note = Note.objects.create(text=HIDDEN, data=[HIDDEN])
        Note.objects.update(text=HIDDEN)
        Note.objects.bulk_update([note], ["text", "data"])
        assert Note.objects.get().text == HIDDEN
        with pytest.raises(FieldError):
            Note.objects.filter(text=HIDDEN)
    assert caplog.records
    assert HIDDEN not in caplog.text
