"""What `get_lookup` and `get_transform` give can be held, and asked what it is."""

import pytest
from django.core.exceptions import FieldError
from django.db.models import Lookup, Transform

from tests.models import Note

FIELD = Note._meta.get_field("text")


@pytest.mark.parametrize("name", ["exact", "icontains", "in", "no_such_lookup"])
def test_a_lookup_has_its_name(name):
    found = FIELD.get_lookup(name)
    assert issubclass(found, Lookup)
    assert found.lookup_name == name
    with pytest.raises(FieldError, match=rf"tests\.Note\.text is encrypted: the lookup `{name}`"):
        found(FIELD.get_col("tests_note"), "a")


def test_a_transform_has_its_name():
    found = FIELD.get_transform("year")
    assert issubclass(found, Transform)
    assert found.lookup_name == "year"
    with pytest.raises(FieldError, match=r"tests\.Note\.text is encrypted: `year`"):
        found(FIELD.get_col("tests_note"))
