"""A value is encrypted, or refused; where nothing can be hooked, a constraint refuses it."""

import io

import pgbulk
import psycopg
import pytest
from django.core.exceptions import FieldError
from django.db import DatabaseError, IntegrityError, connection
from django_bulk_update.helper import bulk_update
from fast_update.query import FastUpdateQuerySet
from psqlextra.query import ConflictAction

from envelope_fields.exceptions import MalformedEnvelope
from tests.neighbours.bulk_writers.models import Note, Person

pytestmark = pytest.mark.django_db
REFUSED = pytest.raises(
    (FieldError, DatabaseError, psycopg.Error), match=r"<Value of|WithColumnsBeside"
)


@pytest.fixture
def note():
    return Note.objects.create(title="a", text="before")


@pytest.fixture
def ada():
    return Person.objects.create(name="ada", email="ada@example.org")


WRITERS = {
    "fast_update": lambda row, *names: FastUpdateQuerySet(type(row)).fast_update([row], names),
    "pgbulk.update": lambda row, *names: pgbulk.update(type(row), [row], names),
    "bulk_update": lambda row, *names: bulk_update([row], update_fields=names),
}
writers = pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)


@writers
def test_a_value_is_encrypted(write, note):
    note.text, note.data = "after", {"a": [1]}
    write(note, "text", "data")
    found = Note.objects.get()
    assert (found.text, found.data) == ("after", {"a": [1]})


@writers
def test_a_sealed_value_is_encrypted_anew(write, note):
    found = Note.objects.get()
    write(found, "text")
    assert Note.objects.get().text == "before"


@writers
@pytest.mark.parametrize("email", ["new@example.org", None])
def test_an_index_is_not_left_behind(write, email, ada):
    ada.email = email
    with REFUSED:
        write(ada, "email")


def test_nor_left_out_by_an_upsert(ada):
    with REFUSED:
        pgbulk.upsert(Person, [Person(name="ben", email="ben@example.org")], ["name"])
    with REFUSED:
        pgbulk.copy(Person, [Person(name="ben", email="ben@example.org")])


def test_psqlextra(ada):
    rows = {"name": "ben", "email": "ben@example.org"}
    insert = Person.objects.on_conflict(["name"], ConflictAction.NOTHING).bulk_insert
    with pytest.raises(FieldError, match="email_index=None"):
        insert([rows])
    insert([{**rows, "email_index": None}])
    assert Person.objects.get(email="Ben@example.org").name == "ben"
    with pytest.raises(FieldError, match="ExcludedCol"):
        Person.objects.upsert(["name"], {**rows, "email_index": None})


@pytest.fixture
def constraint():
    """Have the database refuse what is no envelope, as in the documentation."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"ALTER TABLE {Note._meta.db_table} ADD CONSTRAINT text_is_encrypted "
            "CHECK (substr(text, 1, 1) = '\\x01'::bytea AND octet_length(text) >= 97)"
        )


def copy():
    rows = io.BytesIO(b"title,text\nb,plain\n")
    Note.objects.from_csv(rows, drop_constraints=False, drop_indexes=False)


def test_what_asks_no_field_is_found_when_it_is_read():
    copy()
    with pytest.raises(MalformedEnvelope):
        _ = Note.objects.get().text


def test_what_asks_no_field_is_refused_by_a_constraint(constraint):
    with pytest.raises(IntegrityError, match="text_is_encrypted"):
        copy()


def test_the_constraint_takes_envelopes(constraint):
    Note.objects.create(title="a", text="")
    Note.objects.update(text="after")
    Note.objects.update(text=None)
