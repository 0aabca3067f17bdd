"""Triggers: events of the audit trail stay as they are, and PostgreSQL empties no table of keys.

Those on events are what `audit.triggers` makes, written out for the columns of 0001: that module
makes them for the columns of today, and anew after each migration of ours.
"""

# ruff: noqa: S608 - statements are made of the names of our own tables

import logging
from contextlib import nullcontext
from typing import Any, ClassVar

from django.db import DatabaseError, migrations, router, transaction

_logger = logging.getLogger("envelope_fields.audit")

_EVENTS = "envelope_fields_auditevent"
_NAME = "envelope_fields_audit"
_WHY = "envelope_fields: the audit trail is append-only"
_COLUMNS = (
    "number", "previous_id", "occurred_at", "action", "outcome", "actor_type", "actor_id",
    "actor_name", "key_id", "key_alias", "version_number", "before", "after", "address",
    "request_id", "mac_version", "mac",
)  # fmt: skip
_CHANGED = " OR ".join(f"OLD.{column} IS NOT NEW.{column}" for column in _COLUMNS)
_UNCHANGED = " AND ".join(f"OLD.{column} <=> NEW.{column}" for column in _COLUMNS)

_CREATE = {
    "postgresql": (
        f"""
        CREATE OR REPLACE FUNCTION {_NAME}_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION '{_WHY}' USING ERRCODE = 'restrict_violation';
        END $$
        """,
        f"""
        CREATE OR REPLACE FUNCTION {_NAME}_truncate() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF NOT EXISTS (
                SELECT 1 FROM pg_catalog.pg_locks
                WHERE pid = pg_catalog.pg_backend_pid() AND mode = 'AccessExclusiveLock'
                AND relation = 'envelope_fields_masterkey'::regclass
            ) THEN
                RAISE EXCEPTION '{_WHY}' USING ERRCODE = 'restrict_violation';
            END IF;
            RETURN NULL;
        END $$
        """,
        f"CREATE TRIGGER {_NAME}_update BEFORE UPDATE ON {_EVENTS} "
        "FOR EACH ROW WHEN (OLD.* IS DISTINCT FROM NEW.*) "
        f"EXECUTE FUNCTION {_NAME}_refuse()",
        f"CREATE TRIGGER {_NAME}_delete BEFORE DELETE ON {_EVENTS} "
        f"FOR EACH ROW EXECUTE FUNCTION {_NAME}_refuse()",
        f"CREATE TRIGGER {_NAME}_truncate BEFORE TRUNCATE ON {_EVENTS} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION {_NAME}_truncate()",
    ),
    "mysql": (
        f"CREATE TRIGGER {_NAME}_update BEFORE UPDATE ON {_EVENTS} FOR EACH ROW "
        f"IF NOT ({_UNCHANGED}) THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '{_WHY}'; END IF",
        f"CREATE TRIGGER {_NAME}_delete BEFORE DELETE ON {_EVENTS} FOR EACH ROW "
        "IF @@SESSION.foreign_key_checks THEN "
        f"SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = '{_WHY}'; END IF",
    ),
    "sqlite": (
        f"CREATE TRIGGER {_NAME}_update BEFORE UPDATE ON {_EVENTS} WHEN {_CHANGED} "
        f"BEGIN SELECT RAISE(ABORT, '{_WHY}'); END",
        f"CREATE TRIGGER {_NAME}_delete BEFORE DELETE ON {_EVENTS} "
        "WHEN (SELECT foreign_keys FROM pragma_foreign_keys) = 0 "
        f"BEGIN SELECT RAISE(ABORT, '{_WHY}'); END",
        f"CREATE TRIGGER {_NAME}_insert BEFORE INSERT ON {_EVENTS} WHEN EXISTS ("
        f"SELECT 1 FROM {_EVENTS} WHERE number = NEW.number OR previous_id = NEW.previous_id) "
        f"BEGIN SELECT RAISE(ABORT, '{_WHY}'); END",
    ),
}
_TRIGGERS = {
    "postgresql": ("update", "delete", "truncate"),
    "mysql": ("update", "delete"),
    "sqlite": ("update", "delete", "insert"),
}


def keep_events(apps: Any, schema_editor: Any) -> None:
    connection = schema_editor.connection
    if not _is_there(apps, connection, "AuditEvent"):
        return
    try:
        # MariaDB commits with each such statement, and knows no savepoint afterwards.
        savepoint = connection.features.can_rollback_ddl
        with transaction.atomic(using=connection.alias) if savepoint else nullcontext():
            _drop(connection)
            _execute(connection, _CREATE.get(connection.vendor, ()))
    except DatabaseError as error:
        # A role without the right to make triggers, or MariaDB with a binary log.
        _logger.warning(
            "The triggers that keep the audit trail append-only could not be made in the database "
            "%r (%s). The check envelope_fields.W060 says what to do.",
            connection.alias, error,
        )  # fmt: skip


def release_events(apps: Any, schema_editor: Any) -> None:
    if _is_there(apps, schema_editor.connection, "AuditEvent"):
        _drop(schema_editor.connection)


def _drop(connection: Any) -> None:
    is_postgresql = connection.vendor == "postgresql"
    on_events = f" ON {_EVENTS}" if is_postgresql else ""
    names = _TRIGGERS.get(connection.vendor, ())
    _execute(connection, [f"DROP TRIGGER IF EXISTS {_NAME}_{name}{on_events}" for name in names])
    if is_postgresql:
        functions = ("refuse", "truncate")
        _execute(connection, [f"DROP FUNCTION IF EXISTS {_NAME}_{name}()" for name in functions])


_KEYS = (
    "envelope_fields_masterkey",
    "envelope_fields_masterkeyversion",
    "envelope_fields_furtherwrap",
    "envelope_fields_auditkey",
)
_KEEP = "envelope_fields_keep_keys"


def refuse_truncate(apps: Any, schema_editor: Any) -> None:
    """Have PostgreSQL refuse to empty the tables of keys, unless the session allows it."""
    if not _keeps_keys(apps, schema_editor.connection):
        return
    schema_editor.execute(
        f"""
        CREATE OR REPLACE FUNCTION {_KEEP}() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF pg_catalog.current_setting('envelope_fields.allow_truncate', true)
                IS DISTINCT FROM 'on'
            THEN
                RAISE EXCEPTION 'envelope_fields: every value under the keys of % would be lost',
                    TG_TABLE_NAME
                USING ERRCODE = 'restrict_violation', HINT =
                'If no value is left: SET envelope_fields.allow_truncate = ''on''';
            END IF;
            RETURN NULL;
        END $$
        """,
        params=None,  # a percent sign means itself
    )
    for table in _KEYS:
        schema_editor.execute(
            f"CREATE TRIGGER {_KEEP} BEFORE TRUNCATE ON {table} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION {_KEEP}()"
        )


def allow_truncate(apps: Any, schema_editor: Any) -> None:
    if _keeps_keys(apps, schema_editor.connection):
        for table in _KEYS:
            schema_editor.execute(f"DROP TRIGGER IF EXISTS {_KEEP} ON {table}")
        schema_editor.execute(f"DROP FUNCTION IF EXISTS {_KEEP}()")


def _keeps_keys(apps: Any, connection: Any) -> bool:
    return connection.vendor == "postgresql" and _is_there(apps, connection, "MasterKey")


def _execute(connection: Any, statements: Any) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def _is_there(apps: Any, connection: Any, name: str) -> bool:
    return router.allow_migrate_model(connection.alias, apps.get_model("envelope_fields", name))


class Migration(migrations.Migration):
    dependencies: ClassVar = [("envelope_fields", "0002_default_master_key")]

    operations: ClassVar = [
        migrations.RunPython(keep_events, release_events, elidable=False),
        migrations.RunPython(refuse_truncate, allow_truncate, elidable=False),
    ]
