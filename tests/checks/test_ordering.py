"""Views of Django REST framework."""

from types import ModuleType

import pytest
from django.urls import include, path
from rest_framework import generics, viewsets
from rest_framework.filters import OrderingFilter, SearchFilter
from rest_framework.routers import SimpleRouter
from rest_framework.serializers import ModelSerializer, Serializer

from envelope_fields.checks.views import check_ordering
from tests.models import Note


class NoteSerializer(ModelSerializer):
    class Meta:
        model = Note
        fields = ("title", "text")
        extra_kwargs = {"text": {"write_only": True}}


class ShowingSerializer(NoteSerializer):
    class Meta(NoteSerializer.Meta):
        extra_kwargs = {}


class Demanding(ShowingSerializer):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.of = self.context["request"]


class Ordering(OrderingFilter):
    ordering_fields = ("title",)


class Notes(generics.ListAPIView):
    queryset = Note.objects.all()
    serializer_class = NoteSerializer
    filter_backends = [SearchFilter, OrderingFilter]


SOUND = [
    {},
    {"ordering_fields": ["title", "pk"]},
    {"ordering": "-title"},
    {"filter_backends": [SearchFilter], "ordering_fields": ["text"]},
    {"filter_backends": [Ordering], "serializer_class": ShowingSerializer},
    {"serializer_class": Demanding},
    {"serializer_class": Serializer, "queryset": None},
    {"serializer_class": None},
]

UNSOUND = [
    {"ordering_fields": ["title", "text"]},
    {"ordering_fields": [("text", "Text")]},
    {"ordering_fields": ["children__text"]},
    {"ordering_fields": ["data__name"]},
    {"ordering": ["-text"]},
    {"ordering": "text"},
    {"serializer_class": ShowingSerializer},
    {"serializer_class": ShowingSerializer, "queryset": None},
]


def reported(settings, *patterns):
    settings.ROOT_URLCONF = ModuleType("tests.checks.urls_to_check")
    settings.ROOT_URLCONF.urlpatterns = list(patterns)
    return check_ordering()


@pytest.mark.parametrize("attributes", SOUND, ids=str)
def test_a_sound_view_is_silent(settings, attributes):
    assert reported(settings, path("", type("Checked", (Notes,), attributes).as_view())) == []


@pytest.mark.parametrize("attributes", UNSOUND, ids=str)
def test_an_unsound_view_is_reported(settings, attributes):
    view = type("Checked", (Notes,), attributes)
    (message,) = reported(settings, path("", view.as_view()), path("again/", view.as_view()))
    assert message.id == "envelope_fields.W045"
    assert message.obj is view


def test_all_fields(settings):
    view = type("Checked", (Notes,), {"ordering_fields": "__all__"})
    messages = reported(settings, path("", view.as_view()))
    assert [message.id for message in messages] == ["envelope_fields.W045"] * 2


def test_the_views_of_a_router(settings):
    class NoteViews(viewsets.ModelViewSet):
        queryset = Note.objects.all()
        serializer_class = ShowingSerializer
        filter_backends = [OrderingFilter]

    router = SimpleRouter()
    router.register("notes", NoteViews)
    (message,) = reported(settings, path("api/", include(router.urls)))
    assert message.obj is NoteViews


def test_a_project_without_the_framework_is_not_checked(settings):
    view = type("Checked", (Notes,), {"ordering_fields": ["text"]})
    settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "rest_framework"]
    assert reported(settings, path("", view.as_view())) == []


def test_a_project_without_addresses_is_not_checked(settings):
    settings.ROOT_URLCONF = None
    assert check_ordering() == []
