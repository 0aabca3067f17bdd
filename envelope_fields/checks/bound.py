"""Columns that values are bound to, against what databases do with them by themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.core.checks import CheckMessage, Error
from django.db import router

from envelope_fields.checks.models import AppConfigs, checked_models, encrypted_fields
from envelope_fields.databases.foreign_keys import written_by_foreign_keys


def check_foreign_keys(
    app_configs: AppConfigs = None, databases: Sequence[str] | None = None, **_: Any
) -> list[CheckMessage]:
    """Look for foreign keys by which a database writes what values are bound to."""
    bound = [each for each in encrypted_fields(checked_models(app_configs)) if each.is_bound]
    return [message for using in databases or () for each in bound for message in _of(each, using)]


def _of(field: Any, using: str) -> Iterator[CheckMessage]:
    if not router.allow_migrate_model(using, field.model):
        return
    columns = {column.column: column for column in field.bound_fields}
    for written in written_by_foreign_keys(field.model._meta.db_table, using):
        if written.column in columns:
            yield Error(
                f"Values are bound to {columns[written.column]}, which the database {using!r} "
                f"itself writes ({written.action}).",
                hint="None could be read after that. Make the constraint anew without the action.",
                obj=field,
                id="envelope_fields.E029",
            )
