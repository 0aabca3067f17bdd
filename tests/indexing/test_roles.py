"""Roles that may not make triggers, and tables that are not as most."""

import os

import pytest
from django.apps.registry import Apps
from django.conf import settings
from django.db import DatabaseError, OperationalError, connection, models

from envelope_fields.census import columns
from envelope_fields.databases.errors import why_no_triggers
from envelope_fields.databases.index_triggers import (
    IndexedValues,
    TriggersImpossible,
    drop_all,
    index_triggers as index_triggers_of,
)
from envelope_fields.exceptions import IndexNotReady
from envelope_fields.fields import BlindIndexField, EncryptedTextField
from envelope_fields.indexing import bring_to, find_indexes
from envelope_fields.lifecycle import index_triggers
from envelope_fields.lifecycle.index_states import change_index_state
from envelope_fields.models import BlindIndex
from tests.models.keyed import only
from tests.models.tables import tables_of

pytestmark = [
    pytest.mark.django_db(transaction=True, databases="__all__"),
    pytest.mark.usefixtures("known_at_once"),
]

LABEL = "tests.ledger.owner_index"
TABLE = "tests_Ledger's table"

apps = Apps(["tests"])


class Ledger(models.Model):
    owner = EncryptedTextField(blank=True, db_column="the Owner's")
    owner_index = BlindIndexField("owner", db_column="Owner's {0} Index")

    class Meta:
        apps = apps
        app_label = "tests"
        db_table = TABLE


tables = tables_of([Ledger])
quote = connection.ops.quote_name
INDEX = Ledger._meta.get_field("owner_index")
# A server has it for all its databases.
ROLE = f"{settings.PREFIX}_{os.getpid()}_app".replace("-", "_")


def execute(*statements):
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def triggers():
    [column] = index_triggers.tables_of_index(INDEX)
    return index_triggers._triggers(INDEX, column)


def stored():
    """Return what is in the index, row by row."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {quote(INDEX.column)} FROM {quote(TABLE)} ORDER BY id")
        return [value for (value,) in cursor]


@pytest.fixture
def rows(monkeypatch):
    """Two rows, in an index that is being filled."""
    monkeypatch.setattr(columns, "apps", only(Ledger))
    found = [Ledger.objects.create(owner=name) for name in ("Ada", "Ben")]
    BlindIndex.objects.update(state="reading")
    change_index_state(LABEL, "filling")
    yield found
    drop_all("default")
    Ledger.objects.all().delete()


@pytest.fixture
def on_postgresql():
    if connection.vendor != "postgresql":
        pytest.skip("is about PostgreSQL")


@pytest.fixture
def role(on_postgresql, rows):
    """One that owns nothing, and writes rows."""
    execute(
        f"CREATE ROLE {ROLE}",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {ROLE}",
        f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {ROLE}",
    )
    yield ROLE
    execute("RESET ROLE")
    drop_all("default")
    execute(f"DROP OWNED BY {ROLE}", f"DROP ROLE {ROLE}")


class TestOnPostgreSQL:
    def test_one_that_owns_no_table(self, role, rows):
        triggers().drop()
        execute(f"SET ROLE {role}")
        [note] = index_triggers.settle(INDEX, "filling")
        assert "were not made: the table belongs to another role" in note
        assert "the role that owns the table" in note
        report = bring_to(find_indexes([LABEL]), "reading")
        assert report.state == "reading"
        assert note in report.unseen
        assert Ledger.objects.get(owner="Ada") == rows[0]

    def test_one_whose_triggers_migrate_has_made(self, role, rows, caplog):
        execute(f"SET ROLE {role}")
        report = bring_to(find_indexes([LABEL]), "reading")
        assert report.state == "reading"
        assert "were not dropped: the table belongs to another role" in caplog.text
        rows[0].save()
        Ledger.objects.filter(pk=rows[0].pk).update(owner="Ada")
        rows[1].owner = "Cleo"
        rows[1].save()
        assert Ledger.objects.get(owner="Ada") == rows[0]
        assert Ledger.objects.get(owner="Cleo") == rows[1]
        execute("RESET ROLE")
        index_triggers.drop_before_migration("default")
        assert not triggers().are_there()

    def test_one_that_could_make_and_not_drop_them(self, role, rows):
        triggers().drop()
        execute(
            f"GRANT TRIGGER ON {quote(TABLE)} TO {role}",
            f"GRANT CREATE ON SCHEMA public TO {role}",
            f"SET ROLE {role}",
        )
        with pytest.raises(TriggersImpossible, match="belongs to another role"):
            triggers().make()
        assert not triggers().are_there()

    def test_one_that_may_make_no_function(self, role, rows):
        triggers().drop()
        execute(f"ALTER TABLE {quote(TABLE)} OWNER TO {role}", f"SET ROLE {role}")
        [note] = index_triggers.settle(INDEX, "filling")
        assert "were not made: the role may not." in note
        execute("RESET ROLE", f"ALTER TABLE {quote(TABLE)} OWNER TO CURRENT_USER")

    def test_a_member_of_the_owner(self, role, rows):
        owner = quote(connection.settings_dict["USER"])
        execute(f"GRANT {owner} TO {role}", f"SET ROLE {role}")
        triggers().drop()
        assert index_triggers.settle(INDEX, "filling") == []
        assert triggers().are_there()
        execute("RESET ROLE", f"REVOKE {owner} FROM {role}")


@pytest.fixture
def user(rows):
    """Who writes rows on MariaDB, and makes no triggers; and back to who may."""
    if connection.vendor != "mysql":
        pytest.skip("is about MariaDB")
    before, database = dict(connection.settings_dict), connection.settings_dict["NAME"]
    name = f"'{ROLE}'@'%'"
    rights = "SELECT, INSERT, UPDATE, DELETE, CREATE TEMPORARY TABLES"
    execute(
        f"CREATE USER {name} IDENTIFIED BY 'secret'",
        f"GRANT {rights} ON {quote(database)}.* TO {name}",
        f"GRANT PROCESS ON *.* TO {name}",
    )
    connection.close()
    connection.settings_dict.update(USER=ROLE, PASSWORD="secret")
    yield ROLE
    connection.close()
    connection.settings_dict.update(before)
    execute(f"DROP USER {name}")


class TestOnMariaDB:
    def test_one_whose_triggers_migrate_has_made(self, user, rows):
        """They would empty rows that were found right."""
        with pytest.raises(
            IndexNotReady, match=r"a trigger of ours empties it in .*takes the right"
        ):
            bring_to(find_indexes([LABEL]), "reading")
        [note] = index_triggers.drop_emptying(INDEX)
        assert "were not dropped: the role may not." in note
        assert BlindIndex.objects.get(label=LABEL).state == "filling"


class TestOnMariaDBWithout:
    @pytest.fixture
    def none(self, rows, request):
        if connection.vendor != "mysql":
            pytest.skip("is about MariaDB")
        triggers().drop()
        return request.getfixturevalue("user")

    def test_a_role_without_the_right(self, none, rows):
        [note] = index_triggers.settle(INDEX, "filling")
        assert "were not made: the role may not." in note
        assert "the right TRIGGER" in note
        assert bring_to(find_indexes([LABEL]), "reading").state == "reading"
        assert Ledger.objects.get(owner="Ada") == rows[0]


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (
            OperationalError(1419, "You do not have the SUPER privilege"),
            "trust_function_creators is",
        ),
        (OperationalError(1142, "TRIGGER command denied"), "the role may not"),
        (OperationalError(1205, "Lock wait timeout exceeded"), "another connection holds a lock"),
        (DatabaseError("anything"), "DatabaseError"),
    ],
)
def test_why(error, cause):
    assert cause in why_no_triggers(error)
    assert "anything" not in why_no_triggers(error)


def test_names_of_any_kind(rows):
    assert triggers().are_there()
    execute(f"UPDATE {quote(TABLE)} SET {quote(INDEX.sources[0].field.column)} = 'of no use'")
    assert stored() == [None, None]
    for row in rows:
        row.save()
    assert bring_to(find_indexes([LABEL]), "reading").state == "reading"
    assert Ledger.objects.get(owner="Ada") == rows[0]
    assert not triggers().are_there()


ODD = "50% of $$ {0} it's A;--"


def test_names_with_any_mark():
    """Of SQL of one's own: Django itself takes no percent sign."""
    binary = {"postgresql": "bytea", "mysql": "varbinary(200)"}.get(connection.vendor, "blob")
    table, index, value = (quote(f"{ODD}{each}") for each in "tiv")
    found = index_triggers_of("default", IndexedValues(None, table, index, (value,)))
    execute(
        f"CREATE TABLE {table} (id integer PRIMARY KEY, {value} {binary}, {index} {binary})",
        f"INSERT INTO {table} VALUES (1, 'a', 'i')",
    )
    try:
        found.make()
        assert found.are_there()
        execute(f"UPDATE {table} SET {value} = 'b'")
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {index} FROM {table}")
            assert cursor.fetchone() == (None,)
        found.drop()
        assert not found.are_there()
        found.make()
        drop_all("default")
        assert not found.are_there()
    finally:
        execute(f"DROP TABLE {table}")


PARTITIONED = f"""
CREATE TABLE {quote(TABLE)} (
    id bigint GENERATED BY DEFAULT AS IDENTITY, {quote("the Owner's")} bytea NOT NULL,
    {quote("Owner's {0} Index")} bytea, PRIMARY KEY (id)
) PARTITION BY RANGE (id)
"""


class TestPartitions:
    @pytest.fixture
    def partitioned(self, on_postgresql):
        part = "CREATE TABLE tests_ledger_{0} PARTITION OF {1} FOR VALUES FROM ({2}) TO ({3})"
        execute(
            f"ALTER TABLE {quote(TABLE)} RENAME TO tests_ledger_before",
            PARTITIONED,
            part.format(1, quote(TABLE), 0, 2),
            part.format(2, quote(TABLE), 2, 10**6),
        )
        yield
        execute(
            f"DROP TABLE {quote(TABLE)}",
            f"ALTER TABLE tests_ledger_before RENAME TO {quote(TABLE)}",
        )

    def test_each_is_emptied_where_it_is_stale(self, partitioned, rows):
        assert triggers().are_there()
        execute(f"UPDATE {quote(TABLE)} SET {quote(INDEX.sources[0].field.column)} = 'x'")
        assert stored() == [None, None]

    def test_to_reading(self, partitioned, rows):
        assert bring_to(find_indexes([LABEL]), "reading").state == "reading"
        assert not triggers().are_there()
        assert Ledger.objects.get(owner="Ben") == rows[1]
