"""Methods of other classes are extended once, whatever else has been made of them."""

from functools import wraps

import pytest
from django.template.defaultfilters import register
from django.test import override_settings

from envelope_fields.fields.patches import extend


@pytest.fixture
def kind():
    class Kind:
        def method(self):
            return ["own"]

    return Kind


def twice(method):
    return lambda self: [*method(self), "more"]


def test_a_method_is_extended_once(kind):
    for _ in range(2):
        extend(kind, "method", twice)
    assert kind().method() == ["own", "more"]
    assert kind.method.__name__ == "method"


def test_what_inherits_it_has_it(kind):
    extend(kind, "method", twice)
    below = type("Below", (kind,), {})
    extend(below, "method", twice)
    assert below().method() == ["own", "more"]


def test_another_extension_comes_beside_it(kind):
    extend(kind, "method", twice)
    extend(kind, "method", lambda method: lambda self: [*method(self), "other"])
    extend(kind, "method", twice)
    assert kind().method() == ["own", "more", "other"]


def test_what_another_package_has_wrapped_is_extended(kind):
    method = kind.method

    @wraps(method)
    def wrapped(self):
        return [*method(self), "theirs"]

    kind.method = wrapped
    extend(kind, "method", twice)
    assert kind().method() == ["own", "theirs", "more"]


def test_filters_of_templates_are_extended_once(settings):
    """Also where apps are made ready again."""
    before = dict(register.filters)
    with override_settings(INSTALLED_APPS=list(settings.INSTALLED_APPS)):
        pass
    assert register.filters == before
