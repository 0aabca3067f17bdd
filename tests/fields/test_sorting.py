"""Lists that a user may sort: not by an encrypted column, and never with an error."""

from types import ModuleType

import pytest
from django.contrib import admin
from django.contrib.admin.sites import all_sites
from django.db.models import F
from django.urls import path, reverse
from rest_framework import generics
from rest_framework.filters import OrderingFilter
from rest_framework.serializers import ModelSerializer
from rest_framework.test import APIRequestFactory

from tests.models import Child, Note

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def notes():
    for title, text in (("b", "1"), ("a", "2")):
        Note.objects.create(title=title, text=text, data={"title": title})
    Child.objects.create(note=Note.objects.first(), text="x")


class NoteAdmin(admin.ModelAdmin):
    list_display = ("title", "text", "data", "shout", "length")

    @admin.display(ordering="-text")
    def shout(self, note):
        return note.text.upper()

    @admin.display(ordering=F("text"))
    def length(self, note):
        return len(note.text)


class EagerAdmin(NoteAdmin):
    def get_sortable_by(self, request):
        return self.list_display


class ChildAdmin(admin.ModelAdmin):
    list_display = ("pk", "note", "note__text")


@pytest.fixture
def page(admin_client, settings):
    """Return the list of a model as a browser is shown it."""

    sites = []

    def get(model, model_admin, query=""):
        site = admin.AdminSite()
        sites.append(site)
        site.register(model, model_admin)
        settings.ROOT_URLCONF = ModuleType("tests.fields.urls_to_sort")
        settings.ROOT_URLCONF.urlpatterns = [path("admin/", site.urls)]
        address = reverse(f"admin:tests_{model._meta.model_name}_changelist")
        return admin_client.get(f"{address}{query}")

    yield get
    for site in sites:  # they would be checked in other tests
        all_sites.discard(site)


def test_the_header_of_an_encrypted_column_is_no_link(page):
    shown = page(Note, NoteAdmin)
    assert "sortable column-title" in shown.text
    for column in ("text", "data"):
        assert f"column-{column}" in shown.text
        assert f"sortable column-{column}" not in shown.text
    assert "sortable column-note__text" not in page(Child, ChildAdmin).text


@pytest.mark.parametrize("model_admin", [NoteAdmin, EagerAdmin])
@pytest.mark.parametrize("order", ["2", "-2", "3", "4", "-4", "5", "2.1", "2.3.-5"])
def test_an_address_that_asks_for_it(page, model_admin, order):
    shown = page(Note, model_admin, f"?o={order}")
    assert shown.status_code == 200
    assert set(shown.context["cl"].result_list) == set(Note.objects.all())


def test_an_address_that_asks_for_a_related_one(page):
    assert page(Child, ChildAdmin, "?o=3").status_code == 200


def test_other_columns_are_sorted_by(page):
    for order, titles in (("1", ["a", "b"]), ("-1", ["b", "a"]), ("2.1", ["a", "b"])):
        listed = page(Note, NoteAdmin, f"?o={order}").context["cl"].result_list
        assert [note.title for note in listed] == titles


class NoteSerializer(ModelSerializer):
    class Meta:
        model = Note
        fields = ("title", "text", "data")


def view(**attributes):
    attributes = {
        "queryset": Note.objects.order_by("pk"),
        "serializer_class": NoteSerializer,
        "filter_backends": [OrderingFilter],
        "authentication_classes": [],
        "permission_classes": [],
        **attributes,
    }
    return type("Notes", (generics.ListAPIView,), attributes).as_view()


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"ordering_fields": "__all__"},
        {"ordering_fields": ["title", "text", "data", "children__text", ("text", "Text")]},
        {"queryset": Note.objects.annotate(n=F("text")), "ordering_fields": "__all__"},
    ],
)
@pytest.mark.parametrize("order", ["text", "-text", "data", "children__text", "n", "text,-data"])
def test_rest_framework_ignores_it(attributes, order):
    answer = view(**attributes)(APIRequestFactory().get("/", {"ordering": order}))
    assert answer.status_code == 200
    assert sorted(note["title"] for note in answer.data) == ["a", "b"]


def test_rest_framework_orders_by_others():
    for order, titles in (("title", ["a", "b"]), ("-title,text", ["b", "a"])):
        answer = view()(APIRequestFactory().get("/", {"ordering": order}))
        assert [note["title"] for note in answer.data] == titles


def test_what_the_browsable_api_offers():
    filters = OrderingFilter()
    offered = filters.get_valid_fields(Note.objects.all(), view().cls())
    assert [name for name, _ in offered] == ["title"]
