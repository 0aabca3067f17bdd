"""For how long code waits for locks of others, where it may not wait for ever."""

import pytest
from django.db import connection, transaction

from envelope_fields.databases import database

SECONDS = {
    "postgresql": "SELECT extract(epoch FROM current_setting('lock_timeout')::interval)",
    "mysql": "SELECT @@SESSION.innodb_lock_wait_timeout",
}

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor not in SECONDS, reason="it waits as Django says"),
]
on_postgresql = pytest.mark.skipif(
    connection.vendor != "postgresql", reason="other databases have no settings of a transaction"
)


def seconds():
    return int(database("default").fetch(SECONDS[connection.vendor])[0][0])


def limited():
    return database("default").lock_timeout(3)


@transaction.atomic
def seconds_of_a_transaction():
    return seconds()


def test_each_transaction_of_the_block_is_limited():
    usual = seconds()
    with limited():
        assert [seconds_of_a_transaction() for _ in range(2)] == [3, 3]
    assert seconds() == seconds_of_a_transaction() == usual


@on_postgresql
def test_the_connection_is_not():
    """Behind a pooler, others have it between two transactions."""
    usual = seconds()
    with limited():
        seconds_of_a_transaction()
        assert seconds() == usual


def test_a_transaction_around_the_block_waits_as_before():
    with transaction.atomic():
        usual = seconds()
        with limited():
            assert seconds() == 3
        assert seconds() == usual


def test_a_savepoint_that_is_rolled_back():
    with transaction.atomic():
        usual = seconds()
        with limited():
            for _ in range(2):
                with transaction.atomic():
                    assert seconds() == 3
                    transaction.set_rollback(True)
                assert seconds() == 3
        assert seconds() == usual


def test_a_block_that_fails():
    usual = seconds()
    with pytest.raises(ZeroDivisionError), transaction.atomic(), limited():
        assert seconds() == 3
        raise ZeroDivisionError
    assert seconds() == seconds_of_a_transaction() == usual
