"""How databases find the rows of a batch: by ranges of the primary key."""

import re
import uuid

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from envelope_fields.census.columns import encrypted_columns
from envelope_fields.jobs.statements import statements
from envelope_fields.keyring.age import cache_seconds
from envelope_fields.lifecycle import rotate_master_key
from envelope_fields.models import MasterKey
from envelope_fields.rotation.rewrap import Rewrap
from tests.models import Note, UuidKeyed
from tests.stored import stored, version_of

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

ROWS = 3_000
COLUMN = "tests.Note.text"


@pytest.fixture
def ask():
    # SQLite cannot raise this bound in a transaction, and would read the key for each value.
    cache_seconds()
    Note.objects.bulk_create([Note(text=f"{n}", data=None) for n in range(ROWS)])
    rotate_master_key("default")
    if connection.vendor != "sqlite":
        with connection.cursor() as cursor:
            table = connection.ops.quote_name(Note._meta.db_table)
            cursor.execute(f"ANALYZE {'TABLE ' if connection.vendor == 'mysql' else ''}{table}")
            if connection.vendor == "mysql":
                cursor.fetchall()
    (column,) = [each for each in encrypted_columns("default") if str(each) == COLUMN]
    return statements(column)


def old_version():
    return bytes(MasterKey.objects.get(alias="default").versions.get(number=1).version_id)


def plan_of(work):
    """Return what the database says of how it does the last statement of some work."""
    with CaptureQueriesContext(connection) as queries:
        work()
    sql = queries[-1]["sql"]
    explain = {"sqlite": "EXPLAIN QUERY PLAN", "mysql": "EXPLAIN", "postgresql": "EXPLAIN"}
    with connection.cursor() as cursor:
        cursor.execute(f"{explain[connection.vendor]} {sql.replace('%', '%%')}", ())
        return "\n".join(str(row) for row in cursor.fetchall()), sql


def keys(ask):
    return [value.key for value in ask.heads([old_version()], None, None, ROWS)]


def uses_the_key(plan):
    return re.search(r"Index (Only )?Scan|SEARCH|'range'|'PRIMARY'", plan) is not None


def sorts(plan):
    return re.search(r"Sort|TEMP B-TREE|filesort", plan) is not None


def test_the_heads_of_a_batch(ask):
    found = keys(ask)
    after, until = found[ROWS // 2], found[-1]
    plan, sql = plan_of(lambda: ask.heads([old_version()], after, until, 100))
    assert uses_the_key(plan), plan
    assert not sorts(plan), plan
    assert re.search(r"OFFSET [1-9]", sql) is None


def test_the_end_of_a_range(ask):
    after = keys(ask)[ROWS // 2]
    plan, sql = plan_of(lambda: ask.end_of_range(after, 100))
    assert uses_the_key(plan), plan
    assert re.search(r"OFFSET [1-9]", sql) is None


@pytest.mark.skipif(connection.vendor != "postgresql", reason="a planner that may choose otherwise")
def test_a_batch_of_values_that_are_stored_apart(ask):
    """Where rows are short, since their values are in the TOAST table, a scan seems cheap."""
    note = Note.objects.create(text="x" * 3_000, data=None)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO tests_note (title, text) "
            "SELECT title, text FROM tests_note, generate_series(1, 20000) WHERE id = %s",
            [note.pk],
        )
        cursor.execute("ANALYZE tests_note")
    rotate_master_key("default")
    versions = MasterKey.objects.get(alias="default").versions
    old = bytes(versions.get(number=2).version_id)
    stored = ask.heads([old], (note.pk + 5_000,), None, 2_000)
    changes = Rewrap(ask.column).process(stored).changes
    plans = [
        plan_of(lambda: ask.swap(changes, replaces_payload=False))[0],
        plan_of(lambda: ask.lock_what_is_free([change.key for change in changes]))[0],
        plan_of(lambda: ask.values([change.key for change in changes[:500]]))[0],
    ]
    for plan in plans:
        assert not re.search(r"Seq Scan|(Hash|Merge) Cond: .*substr", plan), plan


@pytest.mark.skipif(connection.vendor != "postgresql", reason="a planner that may choose otherwise")
def test_a_batch_of_rows_that_lie_in_another_order_than_their_keys(ask):
    """To sort what is left of a range seems cheaper than its index, if little is to be found."""
    row = UuidKeyed.objects.create(text="x" * 200)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO tests_uuidkeyed (id, text) SELECT gen_random_uuid(), text "
            "FROM tests_uuidkeyed, generate_series(1, 100000)"
        )
        cursor.execute("ANALYZE tests_uuidkeyed")
    (column,) = [each for each in encrypted_columns("default") if each.model is UuidKeyed]
    ask, versions = statements(column), MasterKey.objects.get(alias="default").versions
    current = bytes(versions.get(number=2).version_id)
    assert version_of(stored(row, "text")) == current
    after, until = (uuid.UUID(int=2**120 * first) for first in (0x20, 0x40))
    plan, _ = plan_of(lambda: ask.heads([current], (after,), (until,), 500))
    assert "Index Scan" in plan
    assert not sorts(plan), plan


def test_what_goes_over_the_wire_does_not_grow_with_values():
    """What is asked and answered of a row that is rewrapped is as long for large values."""
    (column,) = [each for each in encrypted_columns("default") if str(each) == COLUMN]
    sizes = []
    for length in (10, 100_000):
        Note.objects.all().delete()
        Note.objects.bulk_create([Note(text="x" * length, data=None) for _ in range(5)])
        rotate_master_key("default")
        versions = MasterKey.objects.get(alias="default").versions
        old = [bytes(each.version_id) for each in versions.order_by("number")][:-1]
        ask = statements(column)
        stored = ask.heads(old, None, None, 10)
        changes = Rewrap(column).process(stored).changes
        assert len(changes) == 5
        sizes.append(
            [len(value.head) for value in stored]
            + [len(change.head) + len(change.new) for change in changes]
        )
        assert ask.swap(changes, replaces_payload=False) == 5
        assert {note.text for note in Note.objects.all()} == {"x" * length}
    assert sizes[0] == sizes[1]
