"""Recording events: with the act or not at all, numbered without gaps."""

import pytest
from django.db import connection, connections, transaction
from django.db.transaction import TransactionManagementError

from envelope_fields import audit
from envelope_fields.models import AuditEvent, AuditHead, AuditKey, MasterKey
from envelope_fields.policy import APPLICATION, Principal
from tests.audit.events import numbers, record

pytestmark = pytest.mark.django_db(transaction=True)


def test_events_are_numbered_and_chained():
    key = MasterKey.objects.get(alias="default")
    first = record("disable", key=key, before={"state": "enabled"}, after={"state": "disabled"})
    second = record("rotate", version=key.current_version)
    assert numbers() == [1, 2]
    stored = AuditEvent.objects.get(number=2)
    assert (stored.previous_id, stored.key_id, stored.key_alias) == (1, key.pk, "default")
    assert stored.version_number == 1
    assert bytes(stored.mac) == bytes(second.mac) != bytes(first.mac)
    assert audit.head() == (2, bytes(second.mac))
    assert AuditKey.objects.count() == AuditHead.objects.count() == 1


def test_an_event_needs_a_transaction():
    with pytest.raises(TransactionManagementError, match="atomic"):
        audit.record("rotate", actor=APPLICATION, using="default")


def test_a_rollback_leaves_no_gap_and_no_key():
    with transaction.atomic():
        audit.record("rotate", actor=APPLICATION, using="default")
        transaction.set_rollback(True)
    assert not AuditKey.objects.exists()
    assert audit.head() == (0, bytes(32))
    record()
    with transaction.atomic():
        audit.record("rotate", actor=APPLICATION, using="default")
        with transaction.atomic():
            audit.record("disable", actor=APPLICATION, using="default")
            transaction.set_rollback(True)
        audit.record("enable", actor=APPLICATION, using="default")
    assert numbers() == [1, 2, 3]
    assert AuditEvent.objects.get(number=3).action == "enable"


def test_what_does_not_fit_is_cut_visibly():
    actor = Principal("auth.user" * 20, "7" * 80, "\ud800\0" + "é" * 300)
    with transaction.atomic():
        audit.record("a" * 100, actor=actor, using="default", after={"text": "\udfff" + "ü" * 5000})
    stored = AuditEvent.objects.get()
    assert len(stored.actor_name) == 254
    assert stored.actor_name.endswith("é…")
    assert stored.after["text"].endswith("ü…")


@pytest.mark.skipif("connection.vendor != 'mysql'", reason="others have one character set")
@pytest.mark.parametrize("sql_mode", ["STRICT_TRANS_TABLES", "NO_ENGINE_SUBSTITUTION"])
def test_characters_that_the_column_lacks(sql_mode):
    """They keep no act from being recorded, and the event stays what its MAC says."""
    narrow = "ALTER TABLE {0} MODIFY actor_name varchar(254) CHARACTER SET {1} NOT NULL"
    table, kept = AuditEvent._meta.db_table, vars(connections["default"])
    known = kept.pop("envelope_fields_charsets", {})
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@sql_mode")
        before = cursor.fetchone()
        cursor.execute(narrow.format(table, "latin1"))
        cursor.execute("SET sql_mode = %s", [sql_mode])
        try:
            with transaction.atomic():
                audit.record("rotate", actor=Principal("user", "7", "Łuzé"), using="default")
            assert [event.actor_name for event in AuditEvent.objects.all()] == ["?uzé"]
            assert audit.verify().intact
        finally:
            cursor.execute("SET sql_mode = %s", before)
            cursor.execute(narrow.format(table, "utf8mb4"))
            kept["envelope_fields_charsets"] = known


@pytest.mark.parametrize("value", [1.5, b"bytes", {1}, 2**70, object()])
def test_what_databases_would_give_back_changed_is_refused(value):
    with pytest.raises(TypeError, match="Make it text"):
        record(after={"value": value})
    assert numbers() == []
