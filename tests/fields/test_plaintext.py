"""What a project's own `to_plaintext` raises holds no value when it leaves the field."""

import html
import json

import pytest
from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.test import RequestFactory
from django.views.debug import ExceptionReporter

from envelope_fields.fields import EncryptedFieldMixin, EncryptedTextField
from envelope_fields.fields.prepared import Unencrypted
from tests.models.keyed import apps

SECRET = "diabetes mellitus"


class Raising(EncryptedFieldMixin, models.TextField):
    problem = None

    def to_plaintext(self, value):
        copied = f"of {value[:8]}"  # a piece is too much, too
        if isinstance(self.problem, Exception):
            self.problem.args = (f"{self.problem}{copied}",)
            raise self.problem
        return self.problem

    def from_plaintext(self, plaintext):
        return plaintext.decode()


class Prepared(EncryptedTextField):
    def get_prep_value(self, value):
        return json.loads(value)


class Own(models.Model):
    raising = Raising()
    prepared = Prepared()

    class Meta:
        apps = apps
        app_label = "keyed"


def write(field, value=SECRET):
    return field.writer(Unencrypted(value, None), "default")


@pytest.fixture
def field():
    field = Own._meta.get_field("raising")
    yield field
    del field.problem


@pytest.fixture(autouse=True)
def _keys(db):
    """The default key is there."""


def assert_holds_nothing(error):
    assert SECRET[:8] not in str(error)
    assert (error.__context__, error.__cause__) == (None, None)
    inside = error.with_traceback(error.__traceback__.tb_next.tb_next)  # without our own frames
    request = RequestFactory().get("/")
    reporter = ExceptionReporter(request, type(inside), inside, inside.__traceback__)
    report = html.unescape(reporter.get_traceback_html())
    assert "prepared" in report
    assert SECRET not in report


@pytest.mark.parametrize(
    ("problem", "kind"),
    [
        (ValueError(""), ValueError), (TypeError(""), TypeError), (KeyError(""), ValueError),
        (AttributeError(""), TypeError), (ValidationError(""), ValueError),
        (ValueError("keyed.Own.raising: this is no value "), ValueError),
    ],
    ids=repr,
)  # fmt: skip
def test_an_error_of_the_project(problem, kind, field):
    field.problem = problem
    with transaction.atomic(), pytest.raises(kind) as caught:
        write(field)
    assert type(caught.value) is kind
    assert str(caught.value).startswith("keyed.Own.raising: this is not a value that the field can")
    assert type(problem).__name__ in str(caught.value)
    assert_holds_nothing(caught.value)


def test_what_is_no_bytes(field):
    field.problem = SECRET
    with pytest.raises(TypeError, match="returned str instead of bytes") as caught:
        write(field)
    assert_holds_nothing(caught.value)


def test_a_field_that_is_made_of_ours():
    with pytest.raises(ValueError, match="raised JSONDecodeError") as caught:
        write(Own._meta.get_field("prepared"))
    assert_holds_nothing(caught.value)


def test_what_ours_says_is_kept():
    own = Own._meta.get_field("prepared")
    with pytest.raises(ValueError, match=r"keyed\.Own\.prepared: the text has lone surrogates"):
        write(own, json.dumps("\ud800"))
