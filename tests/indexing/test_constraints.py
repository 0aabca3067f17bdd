"""An index that is to be unique is read only where the database keeps it so."""

import pytest
from django.db import connection

from envelope_fields.exceptions import IndexNotReady
from envelope_fields.indexing import bring_to, find_indexes
from envelope_fields.indexing.collisions import uniqueness_of
from envelope_fields.lifecycle.indexes import begin_index
from envelope_fields.models import BlindIndex
from tests.models.indexed import Account, Insured, Member, Person, Visit

pytestmark = [pytest.mark.django_db(databases="__all__"), pytest.mark.usefixtures("known_at_once")]

VENDOR = connection.vendor


@pytest.fixture
def changed():
    """Change a table within the test: not on MariaDB, which would commit."""
    if not connection.features.can_rollback_ddl:
        pytest.skip("a change of a table would be committed")

    def execute(*statements):
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    return execute


def tables(label):
    """Return the tables of an index that is begun, and being filled."""
    begin_index(find_indexes([label])[0].index, "search", "default")
    BlindIndex.objects.filter(label=label).update(state="filling")
    return [each for each in find_indexes([label]) if each.using == "default"]


def index(model, name):
    return model._meta.get_field(name)


@pytest.mark.parametrize(
    ("model", "name", "kept"),
    [
        (Person, "email_index", ["unique=True of email_index"]),
        (Visit, "reason_index", ["'one_reason_a_day'"]),
        (Visit, "contact_index", []),
        (Member, "email_index", ["unique=True of email_index"]),
        (Insured, "ssn_index", []),
        (Account, "name_index", [] if VENDOR == "mysql" else ["'one_is_active'"]),
    ],
)
def test_what_an_index_keeps_unique(model, name, kept):
    found = index(model, name)
    assert list(map(str, uniqueness_of(found, "default"))) == kept
    assert bring_to(tables(found.field_path), "verified").problems == 0


def test_a_constraint_that_is_not_there(changed):
    changed(*_without_constraint())
    for state in ("verified", "reading"):
        with pytest.raises(IndexNotReady, match=r"does not become .*: unique=True of email_index"):
            bring_to(tables("tests.person.email_index"), state)


def _without_constraint():
    if VENDOR == "postgresql":
        return ["ALTER TABLE tests_person DROP CONSTRAINT tests_person_email_index_key"]
    return ["ALTER TABLE tests_person RENAME TO people",
            "CREATE TABLE tests_person AS SELECT * FROM people"]  # fmt: skip


def test_one_with_a_condition_keeps_not_all(changed):
    changed("DROP INDEX one_is_active",
            "CREATE UNIQUE INDEX all_of_them ON tests_account (name_index)")  # fmt: skip
    with pytest.raises(IndexNotReady, match="'one_is_active' has no index in 'default'"):
        bring_to(tables("tests.account.name_index"), "verified")


def test_one_that_is_not_valid(changed):
    if VENDOR != "postgresql":
        pytest.skip("only PostgreSQL has such indexes")
    Person.objects.create(email="ada@example.org")
    changed("UPDATE pg_index SET indisvalid = FALSE "
            "WHERE indexrelid = 'tests_person_email_index_key'::regclass")  # fmt: skip
    with pytest.raises(IndexNotReady, match="is not valid: drop it"):
        bring_to(tables("tests.person.email_index"), "reading")


def test_a_column_that_is_included_tells_nothing_apart(changed):
    if VENDOR != "postgresql":
        pytest.skip("only PostgreSQL has INCLUDE")
    changed("ALTER TABLE tests_person DROP CONSTRAINT tests_person_email_index_key",
            "CREATE UNIQUE INDEX wider ON tests_person (email_index) INCLUDE (id)")  # fmt: skip
    assert bring_to(tables("tests.person.email_index"), "verified").state == "verified"
