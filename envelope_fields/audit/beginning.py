"""The head row, made by `migrate` and again after a flush.

The first event would make it, too; but two first events at once would then wait for each other on
MariaDB, and one of them would fail.
"""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.apps import apps as installed_apps
from django.db import connections, router
from django.db.models import QuerySet
from django.db.models.signals import post_migrate

from envelope_fields.audit.trail import HEAD
from envelope_fields.conf import configuration


def connect(app: AppConfig) -> None:
    """Make the head row after each `migrate` and `flush`."""
    post_migrate.connect(_make_head, sender=app, dispatch_uid="envelope_fields.audit")


def _make_head(*, using: str, apps: Any = installed_apps, **_: Any) -> None:
    if using != configuration().database:
        return
    try:
        model = apps.get_model("envelope_fields", "AuditHead")
    except LookupError:  # migrated back to before our tables
        return
    if not router.allow_migrate_model(using, model):
        return
    if model._meta.db_table in connections[using].introspection.table_names():
        rows: QuerySet[Any] = QuerySet(model, using=using)
        rows.bulk_create([model(pk=HEAD)], ignore_conflicts=True)
