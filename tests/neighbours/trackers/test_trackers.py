"""Packages that tell what of an object has changed since it was loaded."""

import pytest

from tests.neighbours.trackers.models import Dirty, Hooked, Tracked

pytestmark = pytest.mark.django_db


@pytest.fixture(params=[Tracked, Dirty, Hooked])
def model(request):
    request.param.objects.create(title="t", text="a", data={"a": [1]})
    return request.param


def test_objects_are_as_ever(model):
    found = model.objects.get()
    assert (found.text, found.data) == ("a", {"a": [1]})
    found.title = "new"
    found.save()
    found.refresh_from_db()
    assert (found.title, found.text, found.data) == ("new", "a", {"a": [1]})


def test_model_utils(django_assert_num_queries):
    Tracked.objects.create(title="t", text="a", data={"a": [1]})
    found = Tracked.objects.get()
    assert found.tracker.changed() == {}
    found.text = "b"
    assert found.tracker.changed() == {"text": "a"}
    assert found.tracker.previous("text") == "a"
    found.save()
    assert found.tracker.changed() == {}
    assert Tracked.objects.get().text == "b"
    deferred = Tracked.objects.defer("text").get()
    assert "text" in deferred.get_deferred_fields()
    assert deferred.tracker.previous("title") == "t"


def test_dirtyfields():
    Dirty.objects.create(title="t", text="a", data={"a": [1]})
    found = Dirty.objects.get()
    assert not found.is_dirty()
    found.text = "b"
    assert found.get_dirty_fields() == {"text": "a"}
    found.save_dirty_fields()
    assert not found.is_dirty()
    assert Dirty.objects.get().text == "b"


def test_lifecycle():
    Hooked.objects.create(title="t", text="a")
    found = Hooked.objects.get()
    found.title = "new"
    found.save()
    assert Hooked.objects.get().heard == 0
    found.text = "b"
    assert found.has_changed("text")
    assert found.initial_value("text") == "a"
    found.save()
    assert Hooked.objects.get().heard == 1
