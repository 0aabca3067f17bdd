"""Database triggers by which events are neither changed nor deleted, whatever program asks.

Who owns the tables can drop them: they are against slips, and a role with fewer rights. What was
changed all the same shows in the chain. Django's `flush`, which test cases use, goes on working:

- PostgreSQL: TRUNCATE of the trail is refused unless the keys are emptied with it.
- MariaDB: DELETE is refused unless FOREIGN_KEY_CHECKS is off, as `flush` has it. TRUNCATE is
  refused by the foreign keys of the head row.
- SQLite: an event is let go only together with its successors and the head, because of the foreign
  keys between them; where a program does not ask for foreign keys, the trigger refuses DELETE.
  REPLACE, which asks neither, is refused as an INSERT where there is an event already.
"""

# ruff: noqa: S608 - statements are made of the names of our own tables

from __future__ import annotations

from collections.abc import Iterable

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model

from envelope_fields.models import AuditEvent, MasterKey

_EVENTS = AuditEvent._meta.db_table
_KEYS = MasterKey._meta.db_table
_NAME = "envelope_fields_audit"
_UPDATE, _DELETE, _TRUNCATE = f"{_NAME}_update", f"{_NAME}_delete", f"{_NAME}_truncate"
_INSERT = f"{_NAME}_insert"
_WHY = "envelope_fields: the audit trail is append-only"

_CREATE = {
    "postgresql": (
        f"""
        CREATE OR REPLACE FUNCTION {_NAME}_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION '{_WHY}' USING ERRCODE = 'restrict_violation';
        END $$
        """,
        f"""
        CREATE OR REPLACE FUNCTION {_TRUNCATE}() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF NOT EXISTS (
                SELECT 1 FROM pg_catalog.pg_locks
                WHERE pid = pg_catalog.pg_backend_pid() AND mode = 'AccessExclusiveLock'
                AND relation = '{_KEYS}'::regclass
            ) THEN
                RAISE EXCEPTION '{_WHY}' USING ERRCODE = 'restrict_violation';
            END IF;
            RETURN NULL;
        END $$
        """,
        f"CREATE TRIGGER {_UPDATE} BEFORE UPDATE ON {_EVENTS} "
        "FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) "
        f"EXECUTE FUNCTION {_NAME}_refuse()",
        f"CREATE TRIGGER {_DELETE} BEFORE DELETE ON {_EVENTS} "
        f"FOR EACH ROW EXECUTE FUNCTION {_NAME}_refuse()",
        f"CREATE TRIGGER {_TRUNCATE} BEFORE TRUNCATE ON {_EVENTS} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {_TRUNCATE}()",
    ),
    "mysql": (
        f"CREATE TRIGGER {_UPDATE} BEFORE UPDATE ON {_EVENTS} FOR EACH ROW "
        f"IF NOT ({{unchanged}}) THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '{_WHY}'; END IF",
        f"CREATE TRIGGER {_DELETE} BEFORE DELETE ON {_EVENTS} FOR EACH ROW "
        "IF @@SESSION.foreign_key_checks THEN "
        f"SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '{_WHY}'; END IF",
    ),
    "sqlite": (
        f"CREATE TRIGGER {_UPDATE} BEFORE UPDATE ON {_EVENTS} WHEN {{changed}} "
        f"BEGIN SELECT RAISE(ABORT, '{_WHY}'); END",
        f"CREATE TRIGGER {_DELETE} BEFORE DELETE ON {_EVENTS} "
        "WHEN (SELECT foreign_keys FROM pragma_foreign_keys) = 0 "
        f"BEGIN SELECT RAISE(ABORT, '{_WHY}'); END",
        f"CREATE TRIGGER {_INSERT} BEFORE INSERT ON {_EVENTS} WHEN EXISTS ("
        f"SELECT 1 FROM {_EVENTS} WHERE number = NEW.number OR previous_id = NEW.previous_id) "
        f"BEGIN SELECT RAISE(ABORT, '{_WHY}'); END",
    ),
}
_DROP = {
    "postgresql": (
        *(f"DROP TRIGGER IF EXISTS {name} ON {_EVENTS}" for name in (_UPDATE, _DELETE, _TRUNCATE)),
        f"DROP FUNCTION IF EXISTS {_NAME}_refuse()",
        f"DROP FUNCTION IF EXISTS {_TRUNCATE}()",
    ),
    "mysql": (f"DROP TRIGGER IF EXISTS {_UPDATE}", f"DROP TRIGGER IF EXISTS {_DELETE}"),
    "sqlite": tuple(f"DROP TRIGGER IF EXISTS {name}" for name in (_UPDATE, _DELETE, _INSERT)),
}
_COUNT = {
    "postgresql": f"SELECT count(*) FROM pg_catalog.pg_trigger WHERE tgname LIKE '{_NAME}_%%' "
    f"AND tgrelid = '{_EVENTS}'::regclass AND tgenabled <> 'D'",
    "mysql": "SELECT count(*) FROM information_schema.triggers WHERE trigger_schema = DATABASE() "
    f"AND event_object_table = '{_EVENTS}' AND trigger_name LIKE '{_NAME}_%%'",
    "sqlite": "SELECT count(*) FROM sqlite_master WHERE type = 'trigger' "
    f"AND tbl_name = '{_EVENTS}' AND name LIKE '{_NAME}_%%'",
}
_EXPECTED = {"postgresql": 3, "mysql": 2, "sqlite": 3}


def create(connection: BaseDatabaseWrapper, event_model: type[Model] = AuditEvent) -> None:
    """Make the triggers, in the place of those that are there; none on other databases.

    Args:
        connection: to the keys' database.
        event_model: the model as the table has it, which a migration may not have brought up to
            the code of today.

    Raises:
        DatabaseError: the role may not.
    """
    drop(connection)
    # A fixture that is loaded where it was dumped writes each event as it is; that changes nothing.
    columns = [field.column for field in event_model._meta.concrete_fields]
    changed = " OR ".join(f"OLD.{column} IS NOT NEW.{column}" for column in columns)
    unchanged = " AND ".join(f"OLD.{column} <=> NEW.{column}" for column in columns)
    _execute(
        connection,
        [
            statement.replace("{changed}", changed).replace("{unchanged}", unchanged)
            for statement in _CREATE.get(connection.vendor, ())
        ],
    )


def drop(connection: BaseDatabaseWrapper) -> None:
    """Drop the triggers."""
    _execute(connection, _DROP.get(connection.vendor, ()))


def are_there(connection: BaseDatabaseWrapper) -> bool:
    """Whether the database has the triggers, as far as it is one that they are written for."""
    if connection.vendor not in _COUNT:
        return True
    with connection.cursor() as cursor:
        cursor.execute(_COUNT[connection.vendor], [])
        return bool(cursor.fetchone()[0] == _EXPECTED[connection.vendor])


def _execute(connection: BaseDatabaseWrapper, statements: Iterable[str]) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
