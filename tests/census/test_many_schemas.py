"""A thousand tenants: counted in short transactions, which do not exhaust the table of locks."""

import pytest
from django.apps.registry import Apps
from django.db import connection, connections, models, transaction
from django.test import override_settings

from envelope_fields import keyring
from envelope_fields.census import census, not_counted
from envelope_fields.fields import EncryptedTextField
from tests.migrating.project import scratch_database
from tests.models import keyed
from tests.settings import ENVELOPE_FIELDS

SCHEMAS, TABLES, AT_ONCE = 1000, 10, 50

MAKE = """
DO $$ BEGIN
FOR number IN {first}..{last} LOOP
    EXECUTE format('CREATE SCHEMA tenant_%s', number);
    FOR place IN 1..{tables} LOOP
        EXECUTE format('CREATE TABLE tenant_%s.many_%s (id bigint, text bytea)', number, place);
    END LOOP;
    EXECUTE format('INSERT INTO tenant_%s.many_1 VALUES (1, %L)', number, {value});
END LOOP;
END $$
"""
apps = Apps()


def model(number):
    class Meta:
        app_label = "many"
        db_table = f"many_{number}"

    Meta.apps = apps
    attributes = {"text": EncryptedTextField(), "Meta": Meta, "__module__": __name__}
    return type(f"Many{number}", (models.Model,), attributes)


@pytest.fixture
def many(tmp_path, django_db_blocker):
    if connection.vendor != "postgresql":
        pytest.skip("only PostgreSQL has schemas")
    with django_db_blocker.unblock(), scratch_database("many", tmp_path) as alias:
        value = rf"'\x01{'ab' * 8}{'00' * 88}'::bytea"
        with connections[alias].cursor() as cursor:
            for first in range(1, SCHEMAS + 1, AT_ONCE):
                cursor.execute(
                    MAKE.format(first=first, last=first + AT_ONCE - 1, tables=TABLES, value=value)
                )
        yield alias


@pytest.mark.long
def test_a_thousand_schemas_with_ten_tables(many, monkeypatch):
    monkeypatch.setattr(
        "envelope_fields.census.columns.apps", keyed.only(*map(model, range(1, 11)))
    )
    most_locks = []

    def look(execute, sql, *rest):
        if '"tenant_1000"."many_10"' in sql:
            result = execute(sql, *rest)
            with connections[many].connection.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid()")
                most_locks.append(cursor.fetchone()[0])
            return result
        return execute(sql, *rest)

    keyring.evict()
    settings = {**ENVELOPE_FIELDS, "DATABASE": many}
    with (
        override_settings(ENVELOPE_FIELDS=settings),
        connections[many].execute_wrapper(look),
        transaction.atomic(using=many),  # as of a request with ATOMIC_REQUESTS
    ):
        rows = census(database=many)
        assert not_counted(many) == []
    assert (len(rows), {row.values for row in rows}) == (SCHEMAS, {1})
    assert {row.schema for row in rows} == {f"tenant_{number}" for number in range(1, 1001)}
    assert most_locks
    assert max(most_locks) < 50, "each table in a transaction of its own"
