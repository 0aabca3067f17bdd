"""What the trail has from `migrate`: its head row, and triggers by which events stay as they are.

The first event would make the head, too; but two first events at once would then wait for each
other on MariaDB, and one of them would fail.

The owner of the tables can drop the triggers: they are against slips, and a role with fewer
rights. What was changed all the same shows in the chain. Django's `flush`, which test cases use,
goes on working. Triggers name the columns of the table, and SQLite drops them where a migration
remakes it. So they are made anew after each migration of ours, and where they are missing.
"""

import logging
from contextlib import nullcontext
from typing import Any

from django.apps import apps as installed_apps
from django.db import DatabaseError, connections, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.db.models import Model, QuerySet

from envelope_fields.audit.trail import HEAD
from envelope_fields.conf import configuration
from envelope_fields.databases import AppendOnly, database_of
from envelope_fields.models import AuditEvent, MasterKey

_logger = logging.getLogger("envelope_fields.audit")

Plan = list[tuple[Migration, bool]]


def bootstrap(
    *, using: str, apps: Any = installed_apps, plan: Plan | None = None, **_: Any
) -> None:
    """Make the head row and the triggers: a receiver of `post_migrate`."""
    if using != configuration().database:
        return
    try:
        head_model, event_model = (
            apps.get_model("envelope_fields", name) for name in ("AuditHead", "AuditEvent")
        )
    except LookupError:  # migrated back to before our tables
        return
    if not router.allow_migrate_model(using, head_model):
        return
    if head_model._meta.db_table not in connections[using].introspection.table_names():
        return
    rows: QuerySet[Any] = QuerySet(head_model, using=using)
    rows.bulk_create([head_model(pk=HEAD)], ignore_conflicts=True)
    if plan is not None:  # a flush changes no table
        _make_anew(using, event_model, plan)


def _make_anew(using: str, event_model: type[Model], plan: Plan) -> None:
    connection = connections[using]
    ours = [back for migration, back in plan if migration.app_label == "envelope_fields"]
    if any(ours) or (not ours and are_there(connection)):
        return
    try:
        # MariaDB commits with each such statement, and knows no savepoint afterwards.
        savepoint = connection.features.can_rollback_ddl
        with transaction.atomic(using=using) if savepoint else nullcontext():
            create(connection, event_model)
    except DatabaseError as error:
        # A role without the right to make triggers, or MariaDB with a binary log.
        _logger.warning(
            "The triggers that keep the audit trail append-only could not be made in the database "
            "%r (%s). The check envelope_fields.W060 says what to do.",
            using, type(error).__name__,
        )  # fmt: skip


def create(connection: BaseDatabaseWrapper, event_model: type[Model] = AuditEvent) -> None:
    """Make the triggers, in the place of those that are there; none on other databases.

    Args:
        connection: to the keys' database, whose role may make them.
        event_model: as the table has it, which may not be migrated to the code of today.
    """
    database_of(connection).make_append_only(_events(event_model))


def drop(connection: BaseDatabaseWrapper) -> None:
    """Drop the triggers."""
    database_of(connection).drop_append_only(_events(AuditEvent))


def are_there(connection: BaseDatabaseWrapper) -> bool:
    """Whether the database has the triggers, as far as it is one that they are written for."""
    return database_of(connection).is_append_only(_events(AuditEvent))


def _events(model: type[Model]) -> AppendOnly:
    return AppendOnly(
        table=AuditEvent._meta.db_table,
        # A fixture that is loaded where it was dumped writes each event as it is; that changes
        # nothing, and is not refused.
        columns=tuple(str(field.column) for field in model._meta.concrete_fields),
        triggers="envelope_fields_audit",
        emptied_with=MasterKey._meta.db_table,
        number="number",
        previous="previous_id",
    )
