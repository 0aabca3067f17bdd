"""Events stay as they are: the model refuses, and so does the database."""

import sqlite3

import pytest
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction
from django.db.models import QuerySet
from django.test import TransactionTestCase

from envelope_fields.audit import triggers
from envelope_fields.models import (
    AuditChainProtected,
    AuditEvent,
    AuditEventProtected,
    AuditHead,
    AuditKey,
)
from tests.audit.events import record

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def event():
    record("create_key")
    record("rotate")
    return AuditEvent.objects.get(number=1)


@pytest.mark.parametrize(
    "change",
    [
        lambda event: event.save(),
        lambda event: event.save(update_fields=["action"]),
        lambda event: event.delete(),
        lambda event: AuditEvent.objects.update(action="x"),
        lambda event: AuditEvent.objects.all().delete(),
        lambda event: AuditEvent.objects.filter(number=1).delete(),
        lambda event: QuerySet(AuditEvent).delete(),
        lambda event: AuditEvent.objects.bulk_update([event], ["action"]),
        lambda event: AuditEvent.objects.bulk_create([AuditEvent(number=7)]),
        lambda event: AuditEvent.objects.update_or_create(
            number=1, defaults={"action": "x"}
        ),
    ],
)  # fmt: skip
def test_the_model_refuses(event, change):
    with pytest.raises(AuditEventProtected, match="append-only"):
        change(event)
    assert AuditEvent.objects.get(number=1).action == "create_key"
    assert AuditEvent.objects.count() == 2


@pytest.mark.parametrize("model", [AuditHead, AuditKey])
@pytest.mark.parametrize(
    "delete", [lambda row: row.delete(), lambda row: type(row).objects.all().delete()]
)
def test_what_it_goes_on_with_is_kept(event, model, delete):
    with pytest.raises(AuditChainProtected, match="of the audit trail is not deleted"):
        delete(model.objects.get())
    assert record("rotate").number == 3


def execute(statement):
    with connection.cursor() as cursor:
        cursor.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE envelope_fields_auditevent SET action = 'x' WHERE number = 1",
        "UPDATE envelope_fields_auditevent SET number = 9 WHERE number = 2",
        "DELETE FROM envelope_fields_auditevent WHERE number = 1",
        "DELETE FROM envelope_fields_auditevent WHERE number = 2",
        "DELETE FROM envelope_fields_auditevent",
        pytest.param(
            "TRUNCATE TABLE envelope_fields_auditevent",
            marks=pytest.mark.skipif("connection.vendor == 'sqlite'", reason="no TRUNCATE"),
        ),
        pytest.param(
            "TRUNCATE TABLE envelope_fields_auditevent CASCADE",
            marks=pytest.mark.skipif("connection.vendor != 'postgresql'", reason="no CASCADE"),
        ),
        pytest.param(
            "TRUNCATE TABLE envelope_fields_auditevent, envelope_fields_audithead",
            marks=pytest.mark.skipif("connection.vendor != 'postgresql'", reason="one table only"),
        ),
    ],
)
def test_the_database_refuses(event, statement):
    with pytest.raises(DatabaseError), transaction.atomic():
        execute(statement)
    assert list(AuditEvent.objects.values_list("number", "action")) == [
        (2, "rotate"), (1, "create_key"),
    ]  # fmt: skip


@pytest.mark.skipif("connection.vendor != 'sqlite'", reason="the others always ask")
def test_sqlite_refuses_a_program_that_does_not_ask_for_foreign_keys(event):
    elsewhere = sqlite3.connect(connection.settings_dict["NAME"])
    try:
        for number in (1, 2):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                elsewhere.execute(
                    "DELETE FROM envelope_fields_auditevent WHERE number = ?", [number]
                )
    finally:
        elsewhere.close()


@pytest.mark.skipif("connection.vendor == 'postgresql'", reason="it has no REPLACE")
@pytest.mark.parametrize(("number", "previous"), [("2", "previous_id"), ("9", "previous_id")])
def test_the_database_refuses_to_replace(event, number, previous):
    columns = [field.column for field in AuditEvent._meta.concrete_fields]
    replaced = {"number": number, "previous_id": previous, "action": "'x'"}
    values = ", ".join(
        replaced.get(column, connection.ops.quote_name(column)) for column in columns
    )
    names = ", ".join(map(connection.ops.quote_name, columns))
    with pytest.raises(DatabaseError), transaction.atomic():
        execute(
            f"REPLACE INTO envelope_fields_auditevent ({names}) "
            f"SELECT {values} FROM envelope_fields_auditevent WHERE number = 2"
        )
    assert AuditEvent.objects.get(number=2).action == "rotate"


@pytest.mark.parametrize("reset_sequences", [True, False])
def test_flush_empties_the_trail_and_leaves_the_triggers(event, reset_sequences):
    call_command("flush", interactive=False, reset_sequences=reset_sequences, verbosity=0)
    assert not AuditEvent.objects.exists()
    assert AuditHead.objects.get().number == 0
    assert not AuditKey.objects.exists()
    assert record("rotate").number == 1
    assert triggers.are_there(connection)


class TestOfAProject(TransactionTestCase):
    """Each begins with an empty trail."""

    def test_once(self):
        assert record("rotate").number == 1

    def test_twice(self):
        assert record("rotate").number == 1


def test_the_triggers_go_and_come_with_their_migration(event):
    try:
        call_command("migrate", "envelope_fields", "0002", verbosity=0)
        assert not triggers.are_there(connection)
        execute("UPDATE envelope_fields_auditevent SET action = 'x' WHERE number = 1")
    finally:
        call_command("migrate", verbosity=0)
    assert triggers.are_there(connection)
    with pytest.raises(DatabaseError), transaction.atomic():
        execute("UPDATE envelope_fields_auditevent SET action = 'y' WHERE number = 1")
