"""What SQL that is written by hand hands out: docs/explanation/no-lookups.md says it."""

import pytest
from django.core.exceptions import FieldError
from django.db import connection
from django.db.models.expressions import RawSQL

from envelope_fields.exceptions import EnvelopeError
from tests.models import Note
from tests.stored import stored

pytestmark = pytest.mark.django_db
TABLE = "tests_note"


@pytest.fixture
def note():
    return Note.objects.create(text="moths", data={"moths": 7})


@pytest.fixture
def envelope(note):
    return stored(note, "text")


def test_raw_opens_the_column_of_the_field(note):
    assert Note.objects.raw(f"SELECT * FROM {TABLE}")[0].text == "moths"
    assert Note.objects.raw(f"SELECT id, text FROM {TABLE}")[0].data == {"moths": 7}  # deferred
    translated = Note.objects.raw(f"SELECT id, text AS t FROM {TABLE}", translations={"t": "text"})
    assert translated[0].text == "moths"


def test_raw_hands_out_the_envelope_under_another_name(note, envelope):
    (row,) = Note.objects.raw(f"SELECT id, text AS more FROM {TABLE}")
    assert bytes(row.more) == envelope
    assert row.text == "moths"


@pytest.mark.parametrize("expression", ["data", "substr(text, 1, 100)"])
def test_raw_refuses_what_is_not_the_value_under_the_name_of_the_field(note, expression):
    rows = Note.objects.raw(f"SELECT id, {expression} AS text FROM {TABLE}")
    with pytest.raises(EnvelopeError, match=r"tests\.Note\.text"):
        _ = rows[0].text


def test_extra_hands_out_the_envelope(note, envelope):
    (row,) = Note.objects.extra(select={"more": "text"})
    assert bytes(row.more) == envelope
    (value,) = Note.objects.extra(select={"more": "text"}).values_list("more", flat=True)
    assert bytes(value) == envelope


def test_extra_compares_envelopes(note, django_assert_num_queries):
    """It finds nothing, and what was looked for is in the SQL."""
    with django_assert_num_queries(1) as captured:
        assert not Note.objects.extra(where=["text = %s"], params=["moths"]).exists()
    assert "moths" in captured.captured_queries[0]["sql"]
    assert [each.text for each in Note.objects.extra(order_by=["text"])] == ["moths"]


def test_raw_sql_in_an_annotation(note, envelope):
    (row,) = Note.objects.annotate(more=RawSQL("text", ()))
    assert bytes(row.more) == envelope
    field = Note._meta.get_field("text")
    with pytest.raises(FieldError, match=r"tests\.Note\.text is encrypted"):
        list(Note.objects.annotate(more=RawSQL("text", (), output_field=field)))


def test_a_cursor_hands_out_the_envelope(note, envelope):
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT text FROM {TABLE}")
        assert bytes(cursor.fetchone()[0]) == envelope
