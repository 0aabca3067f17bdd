"""Columns that still hold what another package has stored, or whose readers can go."""

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any

from django.core.checks import CheckMessage, Warning
from django.db.models import Min

from envelope_fields.checks.keys import keys_database
from envelope_fields.checks.models import AppConfigs, checked_models, encrypted_fields
from envelope_fields.models import ColumnConversion, LegacyRead


def check_conversions(
    app_configs: AppConfigs = None, databases: Sequence[str] | None = None, **_: Any
) -> list[CheckMessage]:
    """Look how far the fields are that read another package's format."""
    fields = [each for each in encrypted_fields(checked_models(app_configs)) if each.legacy]
    using = keys_database(databases, ColumnConversion, LegacyRead) if fields else None
    if using is None:
        return []
    rows = {f"{row.model}.{row.field}": row for row in ColumnConversion.objects.using(using)}
    reads = LegacyRead.objects.using(using).values_list("field").annotate(first=Min("day"))
    first_reads: dict[str, date] = dict(reads.order_by())
    return [
        message
        for field in fields
        for message in _standing(field, rows.get(str(field)), first_reads.get(field.field_path))
    ]


def _standing(
    field: Any, row: ColumnConversion | None, first_read: date | None
) -> Iterator[CheckMessage]:
    packages = " and ".join(each.package for each in field.legacy)
    if row is not None and row.finished_at is not None:
        yield Warning(
            f"The conversion of {field} from {packages} is finished, and it still has legacy=.",
            hint="Remove legacy=, and the settings that it names, if nothing else needs these.",
            obj=field,
            id="envelope_fields.W091",
        )
        return
    since = "has not begun" if row is None else f"began on {row.started_at:%Y-%m-%d}"
    read = "" if first_read is None else f", and such values were read since {first_read}"
    yield Warning(
        f"{field} reads what {packages} has stored: the conversion {since}{read}.",
        hint=f"Convert the rest: `python manage.py convert_field {field} --to finished`.",
        obj=field,
        id="envelope_fields.W090",
    )
