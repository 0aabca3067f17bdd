import logging
from contextlib import nullcontext
from typing import Any

from django.db import DatabaseError, connections, migrations, router, transaction

from envelope_fields.audit import triggers

_logger = logging.getLogger("envelope_fields.audit")


def create(apps: Any, schema_editor: Any) -> None:
    connection = schema_editor.connection
    if not _is_there(apps, connection):
        return
    try:
        # MariaDB commits with each such statement, and knows no savepoint afterwards.
        savepoint = connection.features.can_rollback_ddl
        with transaction.atomic(using=connection.alias) if savepoint else nullcontext():
            triggers.create(connection)
    except DatabaseError as error:
        # A role without the right to make triggers, or MariaDB with a binary log.
        _logger.warning(
            "The triggers that keep the audit trail append-only could not be made in the database "
            "%r (%s). The check envelope_fields.W060 says what to do.",
            connection.alias, error,
        )  # fmt: skip


def drop(apps: Any, schema_editor: Any) -> None:
    if _is_there(apps, schema_editor.connection):
        triggers.drop(connections[schema_editor.connection.alias])


def _is_there(apps: Any, connection: Any) -> bool:
    return router.allow_migrate_model(
        connection.alias, apps.get_model("envelope_fields", "AuditEvent")
    )


class Migration(migrations.Migration):
    """A later migration that alters the table of events makes the triggers again: SQLite remakes tables."""

    dependencies = [("envelope_fields", "0003_keys_under_control")]

    operations = [migrations.RunPython(create, drop, elidable=False)]
