"""Columns that values are bound to, against what databases do with them by themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.core.checks import CheckMessage, Error
from django.db import router

from envelope_fields.checks.models import AppConfigs, checked_models, encrypted_fields
from envelope_fields.databases.self_written import padded_columns, written_by_foreign_keys
from envelope_fields.fields.bindable import is_text


def check_columns(
    app_configs: AppConfigs = None, databases: Sequence[str] | None = None, **_: Any
) -> list[CheckMessage]:
    """Look for columns that a database writes by itself, or changes what is written into."""
    bound = [each for each in encrypted_fields(checked_models(app_configs)) if each.is_bound]
    return [message for using in databases or () for each in bound for message in _of(each, using)]


def _of(field: Any, using: str) -> Iterator[CheckMessage]:
    if not router.allow_migrate_model(using, field.model):
        return
    columns = {column.column: column for column in field.bound_fields}
    table = field.model._meta.db_table
    for written in written_by_foreign_keys(table, using):
        if written.column in columns:
            yield Error(
                f"Values are bound to {columns[written.column]}, which the database {using!r} "
                f"itself writes ({written.action}).",
                hint="None could be read after that. Make the constraint anew without the action.",
                obj=field,
                id="envelope_fields.E029",
            )
    texts = {name for name, column in columns.items() if is_text(column)}
    for name in texts & padded_columns(table, using):
        yield Error(
            f"Values are bound to {columns[name]}, and the database {using!r} adds spaces to its "
            "texts or takes them away (char).",
            hint="What is read would be another text than was written. Make it a varchar column.",
            obj=field,
            id="envelope_fields.E027",
        )
