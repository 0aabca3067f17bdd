"""Triggers that empty an index where a statement writes the value without it."""

import copy
from types import SimpleNamespace

import pytest
from django.apps.registry import Apps
from django.db import DatabaseError, connection, models, transaction

from envelope_fields.census import columns
from envelope_fields.databases import database
from envelope_fields.databases.index_triggers import (
    IndexedValues,
    TriggersImpossible,
    drop_all,
    index_triggers,
)
from envelope_fields.fields import (
    BlindIndexField,
    EncryptedEmailField,
    EncryptedQuerySet,
    EncryptedTextField,
)
from envelope_fields.lifecycle import index_triggers as of_indexes
from envelope_fields.lifecycle.index_states import change_index_state
from envelope_fields.lifecycle.indexes import repair
from envelope_fields.migrating.indexes import look
from envelope_fields.models import BlindIndex
from tests.models.keyed import only
from tests.models.tables import tables_of

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")

apps = Apps(["tests"])
TABLE = "tests_Odd Chart"
LABEL = "tests.chart.email_index"
EXACT = connection.vendor == "postgresql"


class Chart(models.Model):
    title = models.CharField(max_length=20, blank=True)
    email = EncryptedEmailField(null=True)
    email_index = BlindIndexField("email", normalizer="email", db_column="Email Index")
    name = EncryptedTextField(blank=True)
    place = EncryptedTextField(blank=True)
    both_index = BlindIndexField("name", "place")

    objects = EncryptedQuerySet.as_manager()

    class Meta:
        apps = apps
        app_label = "tests"
        db_table = TABLE


tables = tables_of([Chart])
quote = connection.ops.quote_name


def execute(sql, *params):
    with connection.cursor() as cursor:
        cursor.execute(sql, params or None)
        return cursor.fetchall() if cursor.description else []


def index_of(name, *values):
    return IndexedValues(None, quote(TABLE), quote(name), tuple(map(quote, values)))


def of_email():
    return index_triggers("default", index_of("Email Index", "email"))


def of_both():
    return index_triggers("default", index_of("both_index", "name", "place"))


@pytest.fixture
def charts():
    """Two rows; the triggers are there."""
    execute(f"DELETE FROM {quote(TABLE)}")
    drop_all("default")
    found = [
        Chart.objects.create(email=f"ada{number}@example.org", name="Ada", place="Berne")
        for number in range(2)
    ]
    of_email().make()
    of_both().make()
    yield found
    drop_all("default")
    execute(f"DELETE FROM {quote(TABLE)}")


def stored(name, pk):
    [[value]] = execute(f"SELECT {quote(name)} FROM {quote(TABLE)} WHERE id = {pk}")
    return None if value is None else bytes(value)


def write(pk, **columns):
    """Write as a build does that knows no index."""
    names = ", ".join(f"{quote(name)} = %s" for name in columns)
    table = quote(TABLE)
    execute(f"UPDATE {table} SET {names} WHERE id = {pk}", *columns.values())


def test_a_value_that_is_written_without_its_index(charts):
    ada, ben = charts
    write(ada.pk, email=stored("email", ben.pk))
    assert stored("Email Index", ada.pk) is None
    assert stored("Email Index", ben.pk) is not None
    assert stored("both_index", ada.pk) is not None
    write(ben.pk, email=None)
    assert stored("Email Index", ben.pk) is None


def test_one_of_several_values(charts):
    ada, ben = charts
    write(ada.pk, place=stored("place", ben.pk))
    assert stored("both_index", ada.pk) is None
    assert stored("Email Index", ada.pk) is not None


def test_a_rewrap_keeps_it(charts):
    before, value = stored("Email Index", charts[0].pk), stored("email", charts[0].pk)
    write(charts[0].pk, email=value[:1] + b"\1" * 80 + value[81:])
    assert stored("Email Index", charts[0].pk) == before
    write(charts[0].pk, title="other", email=stored("email", charts[0].pk))
    assert stored("Email Index", charts[0].pk) == before


@pytest.mark.parametrize("values", [(b"gAAAA-1", b"gAAAA-2"), (b"x" * 90 + b"1", b"y" * 90 + b"1")])
def test_values_that_are_no_envelopes(charts, values):
    """Of another package, before they are converted: all of them is looked at."""
    write(charts[0].pk, email=values[0])
    write(charts[0].pk, **{"Email Index": b"i" * 24})
    write(charts[0].pk, email=values[0])
    assert stored("Email Index", charts[0].pk) == b"i" * 24
    write(charts[0].pk, email=values[1])
    assert stored("Email Index", charts[0].pk) is None


def test_this_build_writes_both(charts):
    for chart in charts:
        chart.email = f"eve{chart.pk}@example.org"
        chart.save()
    found = Chart.objects.filter(email__in=[f"EVE{chart.pk}@example.org" for chart in charts])
    assert set(found) == set(charts)
    Chart.objects.filter(pk=charts[0].pk).update(email="x@example.org")
    charts[1].email = "y@example.org"
    Chart.objects.bulk_update([charts[1]], ["email"])
    for email, chart in zip(["x@example.org", "y@example.org"], charts, strict=True):
        assert Chart.objects.get(email=email) == chart
        assert len(stored("Email Index", chart.pk)) == 24


def test_what_was_not_touched_is_saved_as_it_is(charts):
    before = stored("Email Index", charts[0].pk)
    chart = Chart.objects.get(pk=charts[0].pk)
    chart.title = "other"
    chart.save()
    Chart.objects.update(title="others")
    assert stored("Email Index", charts[0].pk) == before


def test_the_same_value_once_more(charts):
    """Of what this writes, a trigger on MariaDB or SQLite sees nothing but the rows."""
    before = stored("Email Index", charts[0].pk)
    charts[0].email = "ADA0@example.org"
    charts[0].save()
    after = stored("Email Index", charts[0].pk)
    assert after == (before if EXACT else None)
    assert of_email().EMPTIES_ONLY_STALE is EXACT
    if EXACT:
        Chart.objects.filter(pk=charts[0].pk).update(email="ada0@example.org")
        Chart.objects.bulk_create(
            [Chart(pk=charts[0].pk, email="ada0@example.org"), charts[1]],
            update_conflicts=True, update_fields=["email"], unique_fields=["pk"],
        )  # fmt: skip
        assert stored("Email Index", charts[0].pk) == before


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="only PostgreSQL has the setting")
def test_backslashes_that_are_escapes(charts):
    execute("SET standard_conforming_strings = off")
    try:
        test_the_same_value_once_more(charts)
        test_a_value_that_is_written_without_its_index(charts)
    finally:
        execute("SET standard_conforming_strings = on")


def test_they_are_made_and_dropped_as_often_as_asked(charts):
    for triggers in (of_email(), of_both()):
        assert triggers.are_there()
        triggers.make()
        triggers.drop()
        assert not triggers.are_there()
        triggers.drop()
    write(charts[0].pk, email=None)
    assert stored("Email Index", charts[0].pk) is not None


def test_all_of_them_are_dropped(charts):
    drop_all("default")
    assert not of_email().are_there()
    assert not of_both().are_there()
    if EXACT:
        assert (
            execute("SELECT proname FROM pg_proc WHERE proname LIKE 'envelope_fields_index%'") == []
        )


def test_a_column_that_is_not_there_yet(charts):
    missing = index_triggers("default", index_of("not_there", "email"))
    with pytest.raises(DatabaseError):
        missing.make()
    assert not missing.are_there()
    index = copy.copy(Chart._meta.get_field("email_index"))
    index.column = "not_there"
    assert of_indexes.settle(index, "filling") == []


@pytest.mark.skipif("connection.vendor != 'sqlite'", reason="only SQLite has such tables")
def test_a_table_without_rowid():
    """A trigger would refuse each write; to lock such a table takes no rowid."""
    execute("CREATE TABLE other (id text PRIMARY KEY, v blob, v_index blob) WITHOUT ROWID")
    try:
        index = IndexedValues(None, quote("other"), quote("v_index"), (quote("v"),))
        with pytest.raises(DatabaseError, match="rowid"):
            index_triggers("default", index).make()
        database("default").lock_for_writing("other")
    finally:
        execute("DROP TABLE other")


def test_inside_a_transaction(charts):
    of_email().drop()
    with transaction.atomic():
        if connection.features.can_rollback_ddl:
            of_email().make()
            transaction.set_rollback(True)
        else:
            with pytest.raises(TriggersImpossible, match="would commit"):
                of_email().make()
    assert not of_email().are_there()


def test_a_table_that_is_locked(charts):
    """Statements that come later would wait behind us."""
    if connection.vendor == "sqlite":
        pytest.skip("one lock is for all who write")
    of_email().drop()
    from envelope_fields.databases.transactions import autonomous

    with transaction.atomic():
        Chart.objects.update(title="other")
        with pytest.raises(DatabaseError):
            autonomous(lambda: of_email().make(), "default")
    assert not of_email().are_there()


def test_a_transaction_in_which_they_were_not_made_waits_as_before(charts):
    if connection.vendor != "postgresql":
        pytest.skip("no transaction has settings of its own, or is there to be gone on with")
    with transaction.atomic():
        before = execute("SHOW lock_timeout")
        with pytest.raises(DatabaseError):
            index_triggers("default", index_of("not_there", "email")).make()
        assert execute("SHOW lock_timeout") == before


def test_a_role_that_may_not_is_told(charts, monkeypatch, caplog):
    def refuse(*_):
        raise DatabaseError("secret detail")

    of_email().drop()
    index = Chart._meta.get_field("email_index")
    monkeypatch.setattr("envelope_fields.databases.base.Database.execute", refuse)
    [note, *_] = of_indexes.settle(index, "filling")
    assert "were not made: DatabaseError." in note
    assert "log_bin_trust_function_creators" in note
    assert note in caplog.messages
    assert "secret" not in caplog.text
    monkeypatch.undo()
    assert not of_email().are_there()


@pytest.mark.parametrize("state", ["filling", "verified", "reading", "retired"])
def test_each_state(charts, state):
    index = Chart._meta.get_field("email_index")
    assert of_indexes.settle(index, state) == []
    stands = state == "filling" or (state == "verified" and EXACT)
    assert of_email().are_there() is stands


def test_sqlite_keeps_its_indexes_whole(charts):
    if connection.vendor != "sqlite":
        pytest.skip("is about SQLite")
    write(charts[0].pk, email=stored("email", charts[1].pk))
    assert execute("PRAGMA integrity_check") == [("ok",)]


@pytest.fixture
def begun(charts, monkeypatch, known_at_once):
    """Chart is what is installed; its index is filled."""
    drop_all("default")
    monkeypatch.setattr(columns, "apps", only(Chart))
    BlindIndex.objects.filter(label=LABEL).update(state="reading")
    return change_index_state(LABEL, "filling")


def test_steps_from_state_to_state(begun):
    assert of_email().are_there()
    assert not of_both().are_there()
    change_index_state(LABEL, "verified")
    assert of_email().are_there() is EXACT
    change_index_state(LABEL, "reading")
    assert not of_email().are_there()
    change_index_state(LABEL, "verified")
    assert of_email().are_there() is EXACT
    change_index_state(LABEL, "retired")
    assert not of_email().are_there()


def test_they_are_not_in_the_way_of_migrations(begun):
    """A trigger that names a column which was renamed would keep every row from being written."""

    def planned(*labels):
        look(using="default", plan=[(SimpleNamespace(app_label=each, operations=()), False)
                                     for each in labels])  # fmt: skip

    planned()
    planned("clinic")
    assert of_email().are_there()
    planned("clinic", "tests")
    assert not of_email().are_there()
    repair(using="default")
    assert of_email().are_there()
