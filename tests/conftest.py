"""In what order tests run, and what every test begins with."""

import pytest


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Begin with what takes long, so that no worker is left with it at the end.

    What pytest-django keeps apart stays so: those with a database, those that commit, the others.
    """
    for kind in {kind_of(item) for item in items}:
        places = [place for place, item in enumerate(items) if kind_of(item) == kind]
        ordered = sorted((items[place] for place in places), key=lambda item: not is_long(item))
        for place, item in zip(places, ordered, strict=True):
            items[place] = item


def kind_of(item):
    marker = item.get_closest_marker("django_db")
    return marker and ("commits" if marker.kwargs.get("transaction") else "has a database")


def is_long(item):
    return item.get_closest_marker("long") is not None


@pytest.fixture(autouse=True)
def no_denials_of_other_tests(monkeypatch):
    """Repeated attempts of one test would be stored in another, when their time is over."""
    from envelope_fields.audit import denied

    denied._waiting.clear()
    monkeypatch.setattr(denied, "_repeats", denied._Repeats())


@pytest.fixture(autouse=True)
def no_uses_of_other_tests(monkeypatch):
    """Uses that one test counted would be written in another, by queries nobody expects there."""
    from envelope_fields import key_uses

    key_uses.keyring.harvest_uses()
    monkeypatch.setattr(key_uses, "_pending", key_uses._Pending())
