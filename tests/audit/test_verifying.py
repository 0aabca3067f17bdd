"""What somebody who can write to the database does to the trail shows."""

import tracemalloc
import uuid

import pytest
from django.db import connection
from django.db.models import QuerySet

from envelope_fields import audit, keyring
from envelope_fields.audit import events, verification
from envelope_fields.audit.trail import AuditTrailBroken
from envelope_fields.audit.verification import Cause
from envelope_fields.models import AuditEvent, AuditHead, AuditKey, KeyGrant, MasterKey
from envelope_fields.policy import Principal
from tests.audit.events import record, tampering

pytestmark = pytest.mark.django_db(transaction=True)

TABLE = "envelope_fields_auditevent"


@pytest.fixture
def trail():
    """Ten events with something in every column."""
    key = MasterKey.objects.get(alias="default")
    actor = Principal("auth.user", "7", "Ann")
    for turn in range(1, 11):
        event = record(
            "rotate",
            actor=actor,
            version=key.current_version,
            before={"number": turn, "nested": {"b": [1, None, True], "a": "é"}},
            after={"number": turn + 1},
        )
    return event


def problems(head=None):
    return [(found.first, found.last, found.cause) for found in audit.verify(head).problems]


def change(statement, *parameters):
    with tampering() as cursor:
        cursor.execute(statement, parameters)


def test_an_intact_trail(trail):
    found = audit.verify()
    assert found.intact
    assert (found.events, found.head) == (10, audit.head())
    assert audit.verify(audit.head()).intact
    assert audit.verify((4, bytes(AuditEvent.objects.get(number=4).mac))).intact


def test_an_empty_trail():
    assert audit.verify().intact
    assert audit.verify((0, bytes(32))).intact
    assert problems((3, bytes(32))) == [(1, 3, Cause.CUT)]


class TestEmptied:
    """Of a trail that was emptied nothing is left but what it told of."""

    @pytest.fixture(autouse=True)
    def emptied(self, trail):
        change("DELETE FROM envelope_fields_audithead")
        change(f"DELETE FROM {TABLE}")

    def without_key(self):
        change("DELETE FROM envelope_fields_auditkey")

    def test_its_key_is_left(self):
        assert problems() == [(1, 1, Cause.EMPTIED)]
        assert "the trail was emptied" in str(audit.verify().problems[0])

    def test_nothing_is_left(self):
        """What `migrate` makes leaves no event: a known head alone can tell."""
        self.without_key()
        assert problems() == []
        assert problems((10, bytes(32))) == [(1, 10, Cause.CUT)]

    @pytest.mark.parametrize("statement", [
        "UPDATE envelope_fields_masterkeyversion SET number = 2",
        "UPDATE envelope_fields_masterkey SET state = 'disabled'",
        "UPDATE envelope_fields_masterkey SET alias = 'lab'",
    ])  # fmt: skip
    def test_acts_left_their_traces(self, statement):
        self.without_key()
        change(statement)
        assert problems() == [(1, 1, Cause.EMPTIED)]

    def test_a_grant_is_a_trace(self):
        self.without_key()
        KeyGrant.objects.create(
            master_key=MasterKey.objects.get(), principal_type="auth.user", principal_id="1"
        )
        assert problems() == [(1, 1, Cause.EMPTIED)]


CHANGES = {
    "occurred_at": "2020-01-01 00:00:00",
    "action": "rotatf",
    "outcome": "denied",
    "actor_type": "auth.User",
    "actor_id": "8",
    "actor_name": "Ann ",
    "key_id": uuid.uuid4().hex,
    "key_alias": "Default",
    "version_number": 2,
    "before": '{"number": 5, "nested": {"b": [1, null, 1], "a": "é"}}',
    "after": "{}",
    "address": "127.0.0.1",
    "request_id": "x",
    "mac": bytes(32),
}


def test_a_change_is_tried_for_every_column():
    chained = {"number", "previous", "mac_version"}
    assert {field.name for field in AuditEvent._meta.fields} == CHANGES.keys() | chained


@pytest.mark.parametrize("column", CHANGES)
def test_a_changed_column(trail, column):
    quoted = connection.ops.quote_name(column)
    change(f"UPDATE {TABLE} SET {quoted} = %s WHERE number = 5", CHANGES[column])
    assert problems() == [(5, 5, Cause.CHANGED)]


@pytest.mark.parametrize("column", ["key_id", "version_number"])
def test_a_column_that_is_emptied(trail, column):
    change(f"UPDATE {TABLE} SET {column} = NULL WHERE number = 5")
    assert problems() == [(5, 5, Cause.CHANGED)]


@pytest.mark.any_database
@pytest.mark.parametrize("bit", range(0, 256, 17))
def test_every_bit_of_a_mac_counts(trail, bit):
    mac = bytearray(AuditEvent.objects.get(number=5).mac)
    mac[bit // 8] ^= 1 << bit % 8
    change(f"UPDATE {TABLE} SET mac = %s WHERE number = 5", bytes(mac))
    assert problems() == [(5, 5, Cause.CHANGED)]


def test_a_changed_predecessor(trail):
    change(f"UPDATE {TABLE} SET previous_id = 77 WHERE number = 5")
    assert problems() == [(5, 5, Cause.CHANGED)]


def test_another_key_is_named(trail):
    change(f"UPDATE {TABLE} SET mac_version = %s WHERE number = 5", bytes(8))
    assert problems() == [(5, 5, Cause.FORGED)]


@pytest.mark.skipif(connection.vendor != "sqlite", reason="the others have types")
@pytest.mark.parametrize(
    "assignment",
    [
        "key_id = 'x'", "occurred_at = 'x'", "action = 7", "actor_name = CAST(x'ff' AS TEXT)",
        "mac = 'x'", "mac = 7",
    ],
)  # fmt: skip
def test_columns_that_cannot_be_read(trail, assignment):
    change(f"UPDATE {TABLE} SET {assignment} WHERE number = 5")
    assert problems() == [(5, 5, Cause.CHANGED)]


@pytest.mark.skipif(connection.vendor != "sqlite", reason="the others have types")
def test_a_version_of_the_key_that_is_no_bytes(trail):
    change(f"UPDATE {TABLE} SET mac_version = 'x', key_id = 'x' WHERE number = 5")
    change(f"UPDATE {TABLE} SET mac_version = 'x' WHERE number = 6")
    assert problems() == [(5, 6, Cause.FORGED)]


@pytest.mark.skipif(connection.vendor != "sqlite", reason="the others have types")
class TestAHeadRowThatCannotBeRead:
    def test_its_mac(self, trail):
        change("UPDATE envelope_fields_audithead SET mac = 'x'")
        assert problems() == [(10, 10, Cause.HEAD)]
        record()
        assert problems() == [(11, 11, Cause.CHANGED)]

    @pytest.mark.parametrize("value", ["'x'", "x'ff'", "1.5"])
    def test_its_number(self, trail, value):
        change(f"UPDATE envelope_fields_audithead SET last_id = {value}")
        assert problems() == [(10, 10, Cause.HEAD)]
        with pytest.raises(AuditTrailBroken, match="verify_audit_trail"):
            record()


def test_times_without_a_zone_are_those_that_are_stored(settings):
    """USE_TZ may change after events were recorded: PostgreSQL's times are moments all the same."""
    settings.TIME_ZONE = "America/Chicago"
    settings.USE_TZ = False
    record("rotate")
    assert audit.verify().intact
    settings.USE_TZ = True
    assert audit.verify().intact


def test_several_changes(trail):
    change(f"UPDATE {TABLE} SET action = 'x' WHERE number IN (2, 3, 4, 7)")
    assert problems() == [(2, 4, Cause.CHANGED), (7, 7, Cause.CHANGED)]
    assert "events 2 to 4" in str(audit.verify().problems[0])


def test_removed_in_the_middle(trail):
    change(f"DELETE FROM {TABLE} WHERE number IN (4, 5)")
    assert problems() == [(4, 5, Cause.MISSING), (6, 6, Cause.UNPROVEN)]


def test_removed_at_the_beginning(trail):
    change(f"DELETE FROM {TABLE} WHERE number = 1")
    assert problems() == [(1, 1, Cause.MISSING), (2, 2, Cause.UNPROVEN)]


def test_removed_and_numbered_anew(trail):
    with tampering() as cursor:
        cursor.execute(f"DELETE FROM {TABLE} WHERE number = 4")
        for number in range(5, 11):
            cursor.execute(
                f"UPDATE {TABLE} SET number = %s, previous_id = %s WHERE number = %s",
                [number - 1, number - 2, number],
            )
        cursor.execute("UPDATE envelope_fields_audithead SET last_id = 9")
    assert problems() == [(4, 9, Cause.CHANGED)]


def test_two_that_are_swapped(trail):
    with tampering() as cursor:
        for old, new in ((5, 99), (6, 5), (99, 6)):
            cursor.execute(f"UPDATE {TABLE} SET number = %s WHERE number = %s", [new, old])
        cursor.execute(f"UPDATE {TABLE} SET previous_id = NULL WHERE number IN (5, 6)")
        for number in (5, 6):
            cursor.execute(
                f"UPDATE {TABLE} SET previous_id = %s WHERE number = %s", [number - 1, number]
            )
    # Nobody can say any more what the seventh was chained to.
    assert problems() == [(5, 7, Cause.CHANGED)]


def cut_tail(number):
    """Cut the tail off, and leave a head that fits."""
    mac = bytes(AuditEvent.objects.get(number=number).mac)
    with tampering() as cursor:
        cursor.execute(f"DELETE FROM {TABLE} WHERE number > %s", [number])
        cursor.execute("UPDATE envelope_fields_audithead SET last_id = %s, mac = %s", [number, mac])


def test_a_tail_that_is_cut_off_shows_to_whoever_knows_the_head(trail):
    known = audit.head()
    cut_tail(7)
    assert audit.verify().intact
    assert problems(known) == [(8, 10, Cause.CUT)]


def test_a_tail_that_grew_again(trail):
    known = audit.head()
    cut_tail(7)
    for _ in range(5):
        record("disable")
    assert audit.verify().intact
    assert problems(known) == [(10, 10, Cause.REPLACED)]


def test_a_tail_without_its_head_row(trail):
    change(f"DELETE FROM {TABLE} WHERE number > 7")
    assert problems() == [(8, 10, Cause.CUT)]


@pytest.mark.parametrize("assignment", ["last_id = 7", "last_id = NULL", "mac = %s"])
def test_a_head_row_that_does_not_fit(trail, assignment):
    parameters = [bytes(32)] if "%s" in assignment else []
    change(f"UPDATE envelope_fields_audithead SET {assignment}", *parameters)
    assert problems() == [(10, 10, Cause.HEAD)]


def test_no_head_row(trail):
    change("DELETE FROM envelope_fields_audithead")
    assert problems() == [(10, 10, Cause.HEAD)]


def test_a_trail_with_a_head_that_was_changed_is_not_continued(trail):
    change("UPDATE envelope_fields_audithead SET last_id = 7")
    with pytest.raises(audit.AuditTrailBroken, match="verify_audit_trail"):
        record("disable")
    assert AuditEvent.objects.count() == 10


def test_a_trail_without_its_key(trail):
    change("DELETE FROM envelope_fields_auditkey")
    with pytest.raises(audit.AuditTrailBroken, match="Restore the table of audit keys"):
        record("disable")
    assert problems() == [(1, 10, Cause.FORGED)]


def test_events_made_anew_under_another_key(trail):
    known = audit.head()
    key_id = uuid.uuid4()
    forged = AuditKey(id=key_id, **keyring.generate_audit_key(key_id, 1).columns)
    event = AuditEvent.objects.get(number=10)
    before = bytes(AuditEvent.objects.get(number=9).mac)
    event.action = "enable"
    event.mac_version = bytes(forged.version_id)
    own = bytes(AuditKey.objects.get().version_id)
    as_theirs = keyring.mac(forged, events.message(event, before))
    event.mac_version = own
    as_ours = keyring.mac(forged, events.message(event, before))
    for version, mac, cause in (
        (bytes(forged.version_id), as_theirs, Cause.FORGED),
        (own, as_ours, Cause.CHANGED),
    ):
        with tampering() as cursor:
            cursor.execute(
                f"UPDATE {TABLE} SET action = 'enable', mac_version = %s, mac = %s "
                "WHERE number = 10",
                [version, mac],
            )
            cursor.execute("UPDATE envelope_fields_audithead SET mac = %s", [mac])
        assert problems() == [(10, 10, cause)]
        assert problems(known) == [(10, 10, cause)]


def many_events(count):
    """Make a trail the quick way."""
    record("rotate")
    first = AuditEvent.objects.get()
    rows = []
    before = bytes(first.mac)
    key = AuditKey.objects.get()
    for number in range(2, count + 1):
        event = AuditEvent(
            **{
                field.attname: getattr(first, field.attname)
                for field in AuditEvent._meta.concrete_fields
            }
        )
        event.number, event.previous_id = number, number - 1
        event.mac = before = keyring.mac(key, events.message(event, before))
        rows.append(event)
    QuerySet(AuditEvent).bulk_create(rows, batch_size=500)
    AuditHead.objects.update(last=count, mac=before)


def test_a_long_trail_takes_one_query_for_each_batch(monkeypatch, django_assert_max_num_queries):
    monkeypatch.setattr(verification, "BATCH", 50)
    many_events(220)
    with django_assert_max_num_queries(8):
        assert audit.verify().intact


@pytest.mark.any_database
def test_a_long_trail_takes_no_more_memory(monkeypatch):
    monkeypatch.setattr(verification, "BATCH", 100)
    many_events(3000)
    peak_of_verifying()  # what is kept from the first time on
    long = peak_of_verifying()
    cut_tail(300)
    assert long < 1.5 * peak_of_verifying()


def peak_of_verifying():
    tracemalloc.start()
    try:
        assert audit.verify().intact
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
