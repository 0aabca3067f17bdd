"""Values that stay as another package has stored them, since the field reads that: `legacy=`.

No migration has the readers, so they are those of the field as it is declared today.
"""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.core.exceptions import FieldDoesNotExist
from django.db import connections
from django.db.models import Field

from envelope_fields.census.columns import Column
from envelope_fields.census.values import counted
from envelope_fields.keyring.conversions import conversions_now
from envelope_fields.migrating.plan import Conversion


def remain_readable(
    conversion: Conversion,
    field: Field[Any, Any],
    was: Field[Any, Any],
    becomes: Field[Any, Any],
    using: str,
) -> bool:
    """Whether every value of a column that becomes encrypted is in a format that it reads.

    Args:
        conversion: what makes it encrypted.
        field: the field, of a model with its table.
        was, becomes: the fields of the migration; the bytes stay the same.
        using: the database.

    Raises:
        CensusFailed: the values could not be counted, or not all of them.
    """
    connection = connections[using]
    if not conversion.encrypts or was.db_type(connection) != becomes.db_type(connection):
        return False
    installed = _installed(conversion)
    if not getattr(installed, "legacy", ()) or _is_over(installed):
        return False
    quote = connection.ops.quote_name
    column = Column(
        database=using, model=installed.model, field=installed,
        table_sql=quote(field.model._meta.db_table), column_sql=quote(str(field.column)),
    )  # fmt: skip
    return all(group.version_id or group.format for group in counted(column))


def _installed(conversion: Conversion) -> Any:
    """Return the field as it is declared today; None where it is not found."""
    path = conversion.column.last or conversion.at
    try:
        return apps.get_model(path.app_label, path.model_name)._meta.get_field(path.field_name)
    except (LookupError, FieldDoesNotExist):
        return None


def _is_over(field: Any) -> bool:
    # Not as it is cached with keys: their tables may be made by the same plan.
    return (field.model._meta.label, field.name) in conversions_now().finished
