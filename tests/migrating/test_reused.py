"""The database of PostgreSQL in which our tables are kept from test to test, as they were."""

from contextlib import contextmanager

import pytest
from django.db import connections

from tests.migrating import reused

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(not reused.can_be(), reason="PostgreSQL's, whose tools have to be here"),
]

CHANGES = {
    "a row": "SET session_replication_role = replica; DELETE FROM envelope_fields_masterkeyversion",
    "a value": "UPDATE envelope_fields_masterkey SET description = 'changed'",
    "a number": "SELECT nextval(pg_get_serial_sequence('envelope_fields_masterkeyversion', 'id'))",
    "a table": "CREATE TABLE odd (id serial)",
    "a reference": "CREATE TABLE odd (id uuid REFERENCES envelope_fields_masterkey)",
    "a view": "CREATE VIEW odd AS SELECT * FROM envelope_fields_masterkey",
    "a schema": "CREATE SCHEMA odd; CREATE TABLE odd.odd (id int)",
    "a function": "CREATE FUNCTION odd() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "a type": "CREATE TYPE odd AS ENUM ('a')",
    "a column": "ALTER TABLE envelope_fields_masterkey ADD COLUMN odd int",
    "a default": "ALTER TABLE envelope_fields_masterkey ALTER COLUMN alias SET DEFAULT 'odd'",
    "a trigger": "ALTER TABLE envelope_fields_auditevent DISABLE TRIGGER USER",
    "a policy": "ALTER TABLE envelope_fields_masterkey ENABLE ROW LEVEL SECURITY",
    "an index": "CREATE INDEX odd ON envelope_fields_masterkey (description)",
    "our own": "DROP TABLE envelope_fields_masterkey CASCADE",
}
# What there is, by names: what is made anew has other numbers.
NAMES = """
SELECT relname, relkind::text, relrowsecurity::text FROM pg_class
WHERE relnamespace = 'public'::regnamespace
UNION ALL SELECT table_name, column_name, column_default FROM information_schema.columns
WHERE table_schema = 'public'
UNION ALL SELECT tgrelid::regclass::text, pg_get_triggerdef(oid), tgenabled::text
FROM pg_trigger WHERE NOT tgisinternal
UNION ALL SELECT conname, pg_get_constraintdef(oid), '' FROM pg_constraint
WHERE connamespace = 'public'::regnamespace
UNION ALL SELECT proname, prosrc, '' FROM pg_proc WHERE pronamespace = 'public'::regnamespace
UNION ALL SELECT typname, '', '' FROM pg_type WHERE typtype = 'e'
UNION ALL SELECT nspname, '', '' FROM pg_namespace WHERE nspname !~ '^pg_'
"""


@contextmanager
def cursor_of(database):
    there = connections["default"].copy()
    there.settings_dict = {**there.settings_dict, "NAME": database.name}
    with there.cursor() as cursor:
        yield cursor
    there.close()


def content(database):
    with cursor_of(database) as cursor:
        rows = {table: reused._rows(cursor, table) for table in reused._tables(cursor, [])}
        return rows, reused._fetched(cursor, NAMES), reused._fetched(cursor, reused.NUMBERS)


@pytest.fixture
def kept(request, django_db_blocker):
    with django_db_blocker.unblock():
        database = request.getfixturevalue("kept_database")
        database.restore()
        yield database
        database.restore()


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_whatever_a_test_has_changed_is_as_it_was(kept, change):
    before = content(kept)
    assert any(before[0].values())
    with cursor_of(kept) as cursor:
        cursor.execute(change)
    assert content(kept) != before
    kept.restore()
    assert content(kept) == before


def test_what_is_unaltered_is_not_made_anew(kept, monkeypatch):
    with cursor_of(kept) as cursor:
        cursor.execute(f"{CHANGES['a table']}; {CHANGES['a reference'].replace('odd', 'other')}")
        cursor.execute(CHANGES["a row"])
    monkeypatch.setattr(reused.ReusedDatabase, "_make", None)
    kept.restore()
