"""A column that moves, with a blind index of the encrypted field beside it."""

import pytest
from django.core.management import call_command

from envelope_fields.conversion.column_phases import moving_field, phase_now
from envelope_fields.models import BlindIndex
from tests.conversion.columns.test_steps import convert
from tests.models import moving
from tests.models.moving import IndexedVisit, OldIndexedVisit
from tests.models.tables import tables_of

pytestmark = pytest.mark.django_db(databases="__all__")
tables = tables_of(moving.apps, "other")

LABEL = "moving.IndexedVisit.code"
INDEX = "moving.indexedvisit.code_index"


def rebuild():
    call_command("rebuild_indexes", INDEX, to="reading", verbosity=0)


@pytest.fixture
def rows():
    return [OldIndexedVisit.objects.create(code=f"code {number}") for number in range(4)]


def test_the_switch_waits_for_the_index(rows):
    _, error = convert("encrypted", label=LABEL)
    assert "rebuild_indexes moving.indexedvisit.code_index --to reading" in error
    assert phase_now(moving_field(LABEL)) == "verified"
    rebuild()
    assert convert("encrypted", label=LABEL)[1] == ""
    assert IndexedVisit.objects.get(code="code 2").pk == rows[2].pk


def test_rows_that_are_filled_again_are_in_no_index(rows):
    """So lookups raise until it is filled, too, and do not pass these rows by."""
    convert("verified", label=LABEL)
    rebuild()
    OldIndexedVisit.objects.filter(pk=rows[1].pk).update(code="of an old build")
    _, error = convert("encrypted", label=LABEL)
    assert "rebuild_indexes" in error
    assert BlindIndex.objects.get(label=INDEX).state == "filling"
    rebuild()
    assert convert("encrypted", label=LABEL)[1] == ""
    assert IndexedVisit.objects.get(code="of an old build").pk == rows[1].pk
    assert not IndexedVisit.objects.filter(code="code 1").exists()


@pytest.mark.parametrize("phase", ["clear", "filling"])
def test_index_that_was_read_before_the_column_was_filled(rows, phase):
    convert(phase, label=LABEL)
    rebuild()
    OldIndexedVisit.objects.create(code="of an old build")
    assert convert("encrypted", label=LABEL)[1] == ""
    for code in ("code 2", "of an old build"):
        assert IndexedVisit.objects.get(code=code)


def test_index_after_a_way_back(rows):
    convert("verified", label=LABEL)
    rebuild()
    convert("clear", label=LABEL)
    IndexedVisit.objects.create(code="written in clear")
    assert convert("encrypted", label=LABEL)[1] == ""
    assert IndexedVisit.objects.get(code="written in clear")
