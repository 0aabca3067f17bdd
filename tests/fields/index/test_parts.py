"""Code beside Django, with SQL of its own for what a field prepares, leaves no index behind."""

import pytest
from django.core.exceptions import FieldError
from django.db import DatabaseError, connection
from django.db.models import Value
from django.db.models.sql import InsertQuery, UpdateQuery

from envelope_fields.crypto import format as layout
from tests.models.indexed import Person

A, B = "ada@example.org", "ben@example.org"
EMAIL, NOTES = (Person._meta.get_field(name) for name in ("email", "notes"))


@pytest.fixture
def ada():
    return Person.objects.create(name="ada", email=A)


@pytest.mark.parametrize("value", [B, None])
def test_a_parameter_is_refused(value, ada):
    sql = f"UPDATE {Person._meta.db_table} SET email = %s"
    prepared = EMAIL.get_db_prep_save(value, connection)
    # psycopg looks for no method, and says which type it does not know.
    says = r"<Value of .*email>|WithColumnsBeside"
    with connection.cursor() as cursor, pytest.raises((FieldError, DatabaseError), match=says):
        cursor.execute(sql, [prepared])


def test_nor_is_it_compiled_for_another_statement(ada):
    for query in (Person.objects.all().query, UpdateQuery(Person), InsertQuery(Person)):
        compiler = query.get_compiler(connection=connection)
        with pytest.raises(FieldError, match="a statement of Django's"):
            compiler.compile(EMAIL.get_db_prep_save(B, connection))


@pytest.mark.parametrize("query", [Person.objects.all().query, UpdateQuery(Person)])
def test_an_index_is_not_compiled_for_another_statement(query, ada):
    index = Person._meta.get_field("email_index")
    part = index.get_db_prep_save(index.pre_save(ada, add=False), connection)
    with pytest.raises(FieldError):
        query.get_compiler(connection=connection).compile(part)


def test_the_message_has_no_value():
    prepared = EMAIL.get_db_prep_save(B, connection)
    for made in (str, lambda part: part.__conform__(None)):
        with pytest.raises(FieldError) as raised:
            made(prepared)
        assert B not in str(raised.value)
    assert B not in repr(prepared)


def test_a_field_without_an_index_prepares_an_envelope():
    assert layout.parse(NOTES.get_db_prep_save("n", connection))


def test_an_expression_of_a_statement_has_its_envelope(ada):
    value = Value(B, output_field=EMAIL)
    Person.objects.filter(pk=ada.pk).update(email=value)
    assert Person.objects.get(email=B) == ada


class Insert(InsertQuery):
    """That of a package, which has the columns that it is given."""


@pytest.mark.parametrize("names", [("name", "email"), ("name", "email", "notes", "email_index")])
def test_an_insert_of_another_package(names):
    query = Insert(Person)
    fields = [Person._meta.get_field(name) for name in names]
    query.insert_values(fields, [Person(name="ada", email=A, notes="n")])
    compiler = query.get_compiler(connection=connection)
    if "email_index" not in names:
        with pytest.raises(FieldError, match="email_index=None"):
            compiler.as_sql()
        return
    ((sql, params),) = compiler.as_sql()
    assert sql.count("%s") == len(params) == len(names)
