"""A lock of another connection, which passes: errors say so, and jobs try again."""

from contextlib import ExitStack, contextmanager
from types import SimpleNamespace

import pytest
from django.core.management import CommandError, call_command
from django.db import Error, OperationalError, ProgrammingError, connection, transaction

from envelope_fields.databases.errors import advice
from envelope_fields.exceptions import MasterKeyUnusable
from envelope_fields.jobs.batches import persist
from envelope_fields.keyring import rows
from envelope_fields.keyring.conversions import conversions_now
from envelope_fields.models import ColumnConversion, MasterKeyVersion
from tests.at_once import at_once

LOCKED = {
    "sqlite": (("database is locked",), None),
    "postgresql": (("canceling statement due to lock timeout",), "55P03"),
    "mysql": ((1205, "Lock wait timeout exceeded; try restarting transaction"), None),
}


def locked():
    """Return the error of a statement that another connection's lock has kept from going on."""
    arguments, sqlstate = LOCKED[connection.vendor]
    error = OperationalError(*arguments)
    error.__cause__ = type("Error", (Exception,), {"sqlstate": sqlstate})() if sqlstate else None
    return error


@contextmanager
def failing(model, error, times=1000):
    """Have statements about a table fail so often."""
    met = SimpleNamespace(times=0)

    def execute(run, sql, params, many, context):
        if model._meta.db_table in sql and met.times < times:
            met.times += 1
            raise error()
        return run(sql, params, many, context)

    with ExitStack() as stack:
        stack.enter_context(connection.execute_wrapper(execute))
        yield met


@pytest.mark.django_db
@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="its driver has such errors")
def test_of_a_connection_that_was_lost_and_is_open_again():
    """The driver says by itself that the server closed it; that error has no code."""
    connection.ensure_connection()
    error = OperationalError("server closed the connection unexpectedly")
    error.__cause__ = connection.Database.OperationalError(*error.args)
    assert "The connection was lost." in advice(error, "default")


@pytest.mark.django_db(databases="__all__")
class TestWhatIsSaid:
    def test_of_what_a_field_has_to_know(self):
        with failing(ColumnConversion, locked), pytest.raises(MasterKeyUnusable) as caught:
            conversions_now()
        said = str(caught.value)
        assert "Another connection had locked what was asked for. That passes: try again." in said
        assert "migrate" not in said
        assert ('"transaction_mode": "IMMEDIATE"' in said) == (connection.vendor == "sqlite")

    def test_of_keys(self):
        with failing(MasterKeyVersion, locked), pytest.raises(MasterKeyUnusable, match="try again"):
            rows.current_version("default")

    def test_of_a_table_that_is_not_there(self):
        def error():
            return ProgrammingError("something else")

        with failing(ColumnConversion, error), pytest.raises(MasterKeyUnusable, match="migrate"):
            conversions_now()

    def test_by_a_command(self):
        with failing(MasterKeyVersion, locked), pytest.raises(CommandError, match="try again"):
            call_command("census")


@pytest.mark.django_db(transaction=True)
class TestTryingAgain:
    def test_what_reads_keys(self):
        with failing(ColumnConversion, locked, times=2) as met:
            assert persist(conversions_now).phases == {}
        assert met.times == 2

    def test_not_forever(self):
        with failing(ColumnConversion, locked) as met, pytest.raises(MasterKeyUnusable):
            persist(conversions_now)
        assert met.times == 5

    def test_what_does_not_pass_is_raised_as_it_is_said(self):
        def error():
            return ProgrammingError("something else")

        with failing(ColumnConversion, error) as met, pytest.raises(MasterKeyUnusable):
            persist(conversions_now)
        assert met.times == 1


ONLY_READ = {
    "sqlite": ("PRAGMA query_only = 1", "PRAGMA query_only = 0"),
    "postgresql": (
        "SET default_transaction_read_only = on",
        "RESET default_transaction_read_only",
    ),
    "mysql": ("SET SESSION TRANSACTION READ ONLY", "SET SESSION TRANSACTION READ WRITE"),
}


@pytest.mark.django_db(transaction=True)
def test_of_a_connection_that_only_reads_it_is_not_said_to_be_unreachable():
    begin, end = ONLY_READ[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(begin)
    try:
        with pytest.raises(CommandError, match="that takes writes") as caught:
            call_command("create_master_key", "tenant")
    finally:
        with connection.cursor() as cursor:
            cursor.execute(end)
    assert "migrate" not in str(caught.value)


@pytest.mark.django_db(transaction=True)
def test_a_connection_that_the_server_ended_is_lost_though_another_one_is_open_by_now():
    ended = {
        "postgresql": ("SELECT pg_backend_pid()", "SELECT pg_terminate_backend({})"),
        "mysql": ("SELECT CONNECTION_ID()", "KILL {}"),
    }
    if connection.vendor not in ended:
        pytest.skip("SQLite has no connection to lose")
    own, end = ended[connection.vendor]
    with pytest.raises(Error) as caught, transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(own)
            [[number]] = cursor.fetchall()
        at_once(lambda: execute(end.format(number)))
        ColumnConversion.objects.count()
    assert not ColumnConversion.objects.exists()  # by a new connection
    assert "try again" in advice(caught.value, "default")


def execute(statement):
    with connection.cursor() as cursor:
        cursor.execute(statement)
