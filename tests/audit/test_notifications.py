"""Whoever listens hears of each event, once it is committed."""

import json
import logging

import pytest
from django.db import transaction

from envelope_fields import audit
from envelope_fields.models import AuditEvent, MasterKey
from envelope_fields.policy import APPLICATION, Principal
from envelope_fields.signals import audit_event
from tests.audit.events import record

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.INFO, "envelope_fields.audit")
    return lambda: [line for line in caplog.records if line.name == "envelope_fields.audit"]


@pytest.fixture
def heard():
    events = []

    def listen(*, event, **_):
        events.append(event)

    audit_event.connect(listen)
    yield events
    audit_event.disconnect(listen)


def test_the_log_has_all_columns_and_the_head(lines):
    key = MasterKey.objects.get(alias="default")
    event = record("rotate", actor=Principal("auth.user", "7", "Ann"), version=key.current_version)
    (line,) = lines()
    assert (line.name, line.levelname) == ("envelope_fields.audit", "INFO")
    assert line.audit_head == str(audit.head())
    assert str(audit.head()) in line.getMessage()
    assert line.audit_key_id == str(key.pk)
    assert (line.audit_action, line.audit_actor_name) == ("rotate", "Ann")
    told = {name for name in vars(line) if name.startswith("audit_")}
    chained = {"audit_previous", "audit_mac_version", "audit_mac"}
    columns = {f"audit_{field.name}" for field in AuditEvent._meta.fields}
    assert told == columns - chained | {"audit_head"}
    assert json.dumps({name: getattr(line, name) for name in told})
    assert event.number == line.audit_number


def test_a_name_with_line_breaks_makes_no_line_of_its_own(lines):
    record("rotate", actor=Principal("auth.user", "7", "Ann\naudit event 9: shred done"))
    assert "\n" not in lines()[0].getMessage()


def test_nobody_hears_of_what_is_rolled_back(lines, heard):
    with transaction.atomic():
        audit.record("rotate", actor=APPLICATION, using="default")
        with transaction.atomic():
            audit.record("disable", actor=APPLICATION, using="default")
            transaction.set_rollback(True)
        assert not lines()
        assert not heard
    assert [event.action for event in heard] == ["rotate"]
    assert [line.audit_action for line in lines()] == ["rotate"]


def test_a_receiver_that_raises_keeps_nobody_from_hearing(heard):
    def fail(**_):
        raise RuntimeError

    audit_event.connect(fail)
    try:
        record("rotate")
    finally:
        audit_event.disconnect(fail)
    assert len(heard) == 1
    assert AuditEvent.objects.count() == 1
