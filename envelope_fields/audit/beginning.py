"""What the trail begins with: the head row, and the triggers that keep events as they are.

The first event would make the head, too; but two first events at once would then wait for each
other on MariaDB, and one of them would fail.

Triggers name the columns of the table, and SQLite drops them where a migration remakes it. So they
are made anew after each migration of ours, and where they are missing.
"""

from __future__ import annotations

import logging
from contextlib import nullcontext
from typing import Any

from django.apps import apps as installed_apps
from django.db import DatabaseError, connections, router, transaction
from django.db.migrations import Migration
from django.db.models import Model, QuerySet

from envelope_fields.audit import triggers
from envelope_fields.audit.trail import HEAD
from envelope_fields.conf import configuration

_logger = logging.getLogger("envelope_fields.audit")

Plan = list[tuple[Migration, bool]]


def begin(*, using: str, apps: Any = installed_apps, plan: Plan | None = None, **_: Any) -> None:
    """Make what the trail begins with: a receiver of `post_migrate`."""
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
        _make_triggers(using, event_model, plan)


def _make_triggers(using: str, event_model: type[Model], plan: Plan) -> None:
    connection = connections[using]
    ours = [back for migration, back in plan if migration.app_label == "envelope_fields"]
    if any(ours) or (not ours and triggers.are_there(connection)):
        return
    try:
        # MariaDB commits with each such statement, and knows no savepoint afterwards.
        savepoint = connection.features.can_rollback_ddl
        with transaction.atomic(using=using) if savepoint else nullcontext():
            triggers.create(connection, event_model)
    except DatabaseError as error:
        # A role without the right to make triggers, or MariaDB with a binary log.
        _logger.warning(
            "The triggers that keep the audit trail append-only could not be made in the database "
            "%r (%s). The check envelope_fields.W060 says what to do.",
            using, type(error).__name__,
        )  # fmt: skip
