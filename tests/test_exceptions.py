"""Errors travel between processes as they are."""

import copy
import pickle

import pytest

from envelope_fields import lifecycle, rotation
from envelope_fields.exceptions import EnvelopeError, KeyAccessDenied, quantity
from envelope_fields.lifecycle import create_master_key, rotate_master_key
from envelope_fields.models import MasterKey
from tests.models import Note

pytestmark = pytest.mark.django_db(databases="__all__")


def in_use():
    Note.objects.create(text="x")
    lifecycle.schedule_deletion("default")


def unconfirmed():
    create_master_key("lab")
    lifecycle.shred("lab", confirm="other")


def under_way():
    rotate_master_key("default")
    rotation.start("default")
    rotation.start("default")


def protected():
    MasterKey.objects.get(alias="default").delete()


def denied():
    raise KeyAccessDenied("no")


@pytest.mark.parametrize("act", [in_use, unconfirmed, under_way, protected, denied])
@pytest.mark.parametrize("travel", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy])
def test_an_error_is_the_same_elsewhere(act, travel):
    with pytest.raises(EnvelopeError) as caught:
        act()
    error = caught.value
    arrived = travel(error)
    assert type(arrived) is type(error)
    assert (str(arrived), arrived.args) == (str(error), error.args)
    assert vars(arrived) == vars(error)


def test_a_log_that_shows_a_denial_as_code_says_why():
    assert repr(KeyAccessDenied("no")) == "KeyAccessDenied('no')"
    assert KeyAccessDenied("no").args == ()  # a response would be made of them


def test_one_of_something_is_no_plural():
    assert [quantity(number, "row") for number in (0, 1, 2000)] == ["0 rows", "1 row", "2,000 rows"]
