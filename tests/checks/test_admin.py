"""Admin classes, on whatever site."""

import re

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.admin.sites import all_sites
from django.db import models
from django.db.models import F
from django.db.models.functions import Lower
from django.test.utils import isolate_apps

from envelope_fields.checks.views import check_admin
from envelope_fields.fields import EncryptedCharField
from envelope_fields.fields.admin import EncryptedAdminMixin
from tests.fields.family import FAMILY, encrypted
from tests.models import Birth, Child, Note

pytestmark = pytest.mark.any_database


def named(value):
    """Name a case: the same in each worker, where the repr of a function shows an address."""
    return re.sub(r" at 0x\w+", "", str(value))


class HasText(admin.SimpleListFilter):
    title = "has a text"
    parameter_name = "has_text"


class IsNull(admin.FieldListFilter):
    """A field's filter that the project wrote."""


def shout(self, note):
    return note.text.upper()


def length(note):
    return len(note.text)


@pytest.fixture
def site():
    site = admin.AdminSite(name="checked")
    yield site
    all_sites.discard(site)


def reported(site, model=Note, **options):
    bases = (EncryptedAdminMixin, admin.ModelAdmin)
    site.register(model, type("CheckedAdmin", bases, options))
    return check_admin()


SOUND = [
    {},
    {"list_display": ["text"], "sortable_by": (), "readonly_fields": ["text"], "fields": ["text"]},
    {"list_display": ["title", "text", len], "sortable_by": ["title"]},
    {"list_display": ["title", "children"]},
    {"search_fields": ["title", "^title", "children__id", "pk", "title__iexact"]},
    {"list_filter": ["title", "children", HasText, ("text", IsNull)]},
    {"list_filter": [("data", admin.EmptyFieldListFilter)]},
    {"list_filter": [("title", admin.AllValuesFieldListFilter)]},
    {"ordering": ["-title", F("pk").asc(), Lower("title")]},
    {"date_hierarchy": None},
]

UNSOUND = [
    ({"search_fields": ["title", "text"]}, "E040"),
    ({"search_fields": ["=text"]}, "E040"),
    ({"search_fields": ["^text"]}, "E040"),
    ({"search_fields": ["@text"]}, "E040"),
    ({"search_fields": ["data__name__icontains"]}, "E040"),
    ({"search_fields": ["children__text"]}, "E040"),
    ({"list_filter": ["text"]}, "E041"),
    ({"list_filter": ["children__text"]}, "E041"),
    ({"list_filter": [("text", admin.AllValuesFieldListFilter)]}, "E041"),
    ({"list_filter": [("text", admin.EmptyFieldListFilter)]}, "E041"),
    ({"ordering": ["-text"]}, "E042"),
    ({"ordering": [F("text").desc()]}, "E042"),
    ({"ordering": ["data__name"]}, "E042"),
    ({"date_hierarchy": "text"}, "E043"),
    ({"list_display": ["title", "text"]}, "W044"),
    ({"list_display": ["title", "text"], "sortable_by": ["text"]}, "W044"),
    ({"list_display": ["shout"], "shout": admin.display(ordering="text")(shout)}, "W044"),
    ({"list_display": [admin.display(ordering=F("children__text").desc())(length)]}, "W044"),
]


@pytest.mark.parametrize("options", SOUND, ids=named)
def test_a_sound_admin_is_silent(options, site):
    assert reported(site, **options) == []


@pytest.mark.parametrize(("options", "number"), UNSOUND, ids=named)
def test_an_unsound_admin_is_reported_once(options, number, site):
    (message,) = reported(site, **options)
    assert message.id == f"envelope_fields.{number}"
    assert message.obj.__name__ == "CheckedAdmin"


def test_lists_without_the_mixin(site):
    options = {"list_display": ["title", "text"], "sortable_by": ["title"]}
    site.register(Note, type("CheckedAdmin", (admin.ModelAdmin,), options))
    (message,) = check_admin()
    assert message.id == "envelope_fields.W046"
    assert "tests.Note.text" in message.msg


def test_a_date_hierarchy_of_encrypted_dates(site):
    """Django takes the field for one of dates, as it is to forms."""
    messages = reported(site, Birth, date_hierarchy="day")
    assert [message.id for message in messages] == ["envelope_fields.E043"]


class TestWhatIsWrittenInClear:
    @pytest.fixture(autouse=True)
    def _models(self):
        with isolate_apps("tests"):
            yield

    def model(self, **methods):
        columns = {
            "name": EncryptedCharField(max_length=50),
            "slug": models.SlugField(),
            "code": EncryptedCharField(max_length=50),
        }
        meta = {"Meta": type("Meta", (), {"app_label": "tests"}), "__module__": __name__}
        return type("Thing", (models.Model,), {**columns, **methods, **meta})

    @pytest.mark.parametrize(
        "methods",
        [
            {"__str__": lambda self: self.name},
            {"__str__": lambda self: f"{self.slug} {self.name}"},
            {"__str__": lambda self: self.title(), "title": lambda self: self.name},
            {"__str__": lambda self: self.title, "title": property(lambda self: self.name)},
            {"__str__": lambda self: getattr(self, self.SHOWN), "SHOWN": "name"},
            {
                "__str__": lambda self: self.first(),
                "first": lambda self: self.second(),
                "second": lambda self: self.name or self.first(),
            },
        ],
    )
    def test_the_text_of_an_object(self, site, methods):
        (message,) = reported(site, self.model(**methods))
        assert message.id == "envelope_fields.W047"
        assert message.msg == "'__str__' of tests.Thing reads the encrypted field tests.Thing.name."

    def test_that_of_an_object_in_an_inline(self, site):
        parent = self.model(__str__=lambda self: self.slug)

        class Part(models.Model):
            thing = models.ForeignKey(parent, models.CASCADE)
            text = EncryptedCharField(max_length=50)

            class Meta:
                app_label = "tests"

            def __str__(self):
                return self.text

        inline = type("PartInline", (admin.TabularInline,), {"model": Part})
        (message,) = reported(site, parent, inlines=[inline])
        assert (message.id, message.obj) == ("envelope_fields.W047", inline)

    def test_a_text_that_has_none(self, site):
        assert reported(site, self.model(__str__=lambda self: f"{self.pk} {self.slug}")) == []

    @pytest.mark.parametrize("declared", [None, ["name"], {"slug": None}])
    def test_what_django_refuses_is_left_to_it(self, site, declared):
        assert reported(site, self.model(), prepopulated_fields=declared) == []

    def test_prepopulated_columns(self, site):
        model = self.model()
        assert reported(site, model, prepopulated_fields={"code": ["name"]}) == []
        site.unregister(model)
        (message,) = reported(site, model, prepopulated_fields={"slug": ["code", "slug"]})
        assert message.id == "envelope_fields.W048"
        assert "tests.Thing.code" in message.msg


@pytest.mark.parametrize("name", FAMILY)
@isolate_apps("tests")
def test_fields_of_every_type(site, name):
    first, *_ = FAMILY[name][1]

    class Thing(models.Model):
        value = encrypted(name)
        chosen = encrypted(name, choices=[(first, "first")])

        class Meta:
            app_label = "tests"

    names = ["value", "chosen"]
    options = {"search_fields": names, "list_filter": names, "ordering": names}
    if name in ("Date", "DateTime"):
        options["date_hierarchy"] = "value"
    found = [message.id for message in reported(site, Thing, **options)]
    expected = ["E040", "E041", "E042"] * 2 + ["E043"] * ("date_hierarchy" in options)
    assert sorted(found) == sorted(f"envelope_fields.{each}" for each in expected)


def test_relations_are_followed_forwards(site):
    messages = reported(site, Child, search_fields=["note__text"], ordering=["note__data"])
    assert [message.id for message in messages] == ["envelope_fields.E040", "envelope_fields.E042"]
    assert "tests.Note.text" in messages[0].msg


def test_the_default_site_is_checked():
    admin.site.register(
        Child, type("CheckedAdmin", (admin.ModelAdmin,), {"search_fields": ["text"]})
    )
    try:
        (message,) = check_admin()
    finally:
        admin.site.unregister(Child)
    assert message.id == "envelope_fields.E040"


@pytest.mark.parametrize("kind", [admin.TabularInline, admin.StackedInline])
def test_the_ordering_of_an_inline_is_checked(kind, site):
    inline = type("ChildInline", (kind,), {"model": Child, "ordering": ["text"]})
    (message,) = reported(site, inlines=[inline])
    assert (message.id, message.obj) == ("envelope_fields.E042", inline)


def test_an_inline_without_a_model_is_left_to_django(site):
    inline = type("ChildInline", (admin.TabularInline,), {})
    assert reported(site, inlines=[inline]) == []


def test_only_the_applications_asked_for_are_reported(site):
    assert reported(site, search_fields=["text"]) != []
    assert check_admin([apps.get_app_config("auth")]) == []
    assert len(check_admin([apps.get_app_config("tests")])) == 1


def test_a_project_without_the_admin_is_not_checked(site, settings):
    assert reported(site, search_fields=["text"]) != []
    settings.INSTALLED_APPS = [
        name for name in settings.INSTALLED_APPS if name != "django.contrib.admin"
    ]
    assert check_admin() == []


def test_pages_of_what_is_no_model(site):
    """django-constance registers a class with a `_meta` of its own."""

    class Meta:
        app_label, object_name, concrete_model, swapped = "other", "Config", None, False
        abstract = is_composite_pk = False

    config = type("Config", (), {"_meta": Meta()})
    site._registry[config] = admin.ModelAdmin(config, site)
    assert check_admin() == []
