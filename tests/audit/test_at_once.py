"""Two who append at once: no gap, and no fork."""

import pytest
from django.db import connection, transaction

from envelope_fields import audit
from envelope_fields.models import AuditKey
from envelope_fields.policy import APPLICATION
from tests.at_once import at_once
from tests.audit.events import numbers, record
from tests.other_process import OtherProcess

pytestmark = pytest.mark.django_db(transaction=True)


def several(count):
    return lambda: [record("rotate").number for _ in range(count)]


def test_threads():
    record("create_key")
    outcomes = at_once(*[several(10)] * 4)
    assert sorted(number for outcome in outcomes for number in outcome) == list(range(2, 42))
    assert numbers() == list(range(1, 42))
    assert audit.verify(audit.head()).intact


def test_the_first_event_of_all():
    outcomes = at_once(*[several(1)] * 4)
    assert sorted(outcomes) == [[1], [2], [3], [4]]
    assert AuditKey.objects.count() == 1
    assert audit.verify().intact


def test_one_of_two_is_rolled_back():
    record("create_key")

    def back():
        for _ in range(10):
            with transaction.atomic():
                audit.record("disable", actor=APPLICATION, using="default")
                transaction.set_rollback(True)

    at_once(back, several(10))
    assert numbers() == list(range(1, 12))
    assert audit.verify().intact


def test_processes():
    record("create_key")
    connection.close()
    with OtherProcess() as one, OtherProcess() as two:
        act = "[events.record('rotate').number for _ in range(5)]"
        outcomes = at_once(lambda: one(act), lambda: two(act), several(5))
    assert sorted(number for outcome in outcomes for number in outcome) == list(range(2, 17))
    assert numbers() == list(range(1, 17))
    assert audit.verify().intact


def test_verifying_while_others_append():
    several(20)()
    found, _ = at_once(audit.verify, several(20))
    assert found.intact
    assert found.events >= 20
