"""Conversions: how far they are, from other packages' formats and from columns in clear."""

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from django.core.checks import CheckMessage, Warning
from django.db import router
from django.db.models import Min, Model
from django.utils import timezone

from envelope_fields.checks.keys import keys_database
from envelope_fields.checks.models import AppConfigs, all_models, checked_models, encrypted_fields
from envelope_fields.models import ColumnConversion, ColumnPhase, ConversionKind, LegacyRead

# Most tables are filled in hours. A phase to go back from is worked with for longer.
LONG = timedelta(days=7)
LONG_TO_GO_BACK = timedelta(days=30)


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


# -- Columns in clear that become encrypted --------------------------------------------------------


def check_column_moves(
    app_configs: AppConfigs = None, databases: Sequence[str] | None = None, **_: Any
) -> list[CheckMessage]:
    """Look how far each column in clear is, and for conversions of fields that are not there."""
    using = keys_database(databases, ColumnConversion)
    if using is None:
        return []
    rows = {f"{row.model}.{row.field}": row for row in ColumnConversion.objects.using(using)}
    moving = [each for each in encrypted_fields(checked_models(app_configs)) if _moves(each)]
    found = [
        message
        for field in moving
        if _owner(field) is field
        for message in _moving(field, rows.get(str(field)))
    ]
    return [*found, *_orphans(rows, all_models(app_configs))]


def _owner(field: Any) -> Any:
    return field.conversion_owner(router.db_for_write(field.model))


def _moves(field: Any) -> bool:
    return field.plain_field is not None and not field.reads_beside


def _moving(field: Any, row: ColumnConversion | None) -> Iterator[CheckMessage]:
    phase = ColumnPhase.CLEAR if row is None else ColumnPhase(row.phase)
    command = f"python manage.py convert_field {field} --to"
    if phase == ColumnPhase.ONLY:
        yield Warning(
            f"{field} is encrypted, and its column in clear is not read any more.",
            hint=f"Remove {field.plain_field.name} and converts=, and migrate.",
            obj=field,
            id="envelope_fields.W094",
        )
    elif row is None or phase == ColumnPhase.CLEAR:
        yield _under_way(field, "its values are in clear: the conversion has not begun", command)
    elif _is_long_ago(row.changed_at, phase):
        since = f"it is {phase} since {row.changed_at:%Y-%m-%d}, and its values are in clear, too"
        yield _under_way(field, since, command)


def _under_way(field: Any, standing: str, command: str) -> CheckMessage:
    return Warning(
        f"{field} takes the place of {field.plain_field.name}, and {standing}.",
        hint=f"Go on with `{command} encrypted`, then `--to only`; or go back for good.",
        obj=field,
        id="envelope_fields.W093",
    )


def _is_long_ago(changed_at: datetime, phase: ColumnPhase) -> bool:
    long = LONG_TO_GO_BACK if phase == ColumnPhase.ENCRYPTED else LONG
    return changed_at + long < timezone.now()


# Conversions without a field


def _orphans(
    rows: dict[str, ColumnConversion], models: list[type[Model]]
) -> Iterator[CheckMessage]:
    fields = {str(field): field for field in encrypted_fields(models)}
    for label, row in sorted(rows.items()):
        problem = _problem(row, fields.get(label))
        if problem:
            yield Warning(
                f"The conversion of {label} is {row.phase}, and {problem}.",
                hint=(
                    "If it has another name now: `python manage.py conversions --rename "
                    f"{label}=NEW`. If it is gone: `python manage.py conversions --forget {label}`."
                ),
                id="envelope_fields.W092",
            )


def _problem(row: ColumnConversion, field: Any) -> str:
    """Return why a conversion is not found by its field; empty where it is, or is over."""
    if field is None:
        return "no encrypted field has this name"
    found = _owner(field)
    if found is not field:
        return f"its table is converted as {found}, so that it is not looked at"
    is_over = row.phase in (ColumnPhase.CLEAR, ColumnPhase.ONLY)
    if row.kind == ConversionKind.COLUMN and not is_over and field.converts is None:
        return "the field has no converts="
    return ""


# Other models of the same table


def check_models_beside(app_configs: AppConfigs = None, **_: Any) -> list[CheckMessage]:
    """Look for models that show one column of a field that moves, and do not know of the other."""
    models = all_models(app_configs)
    moving = [each for each in encrypted_fields(models) if _moves(each)]
    return [
        Warning(
            f"{other} is a column of {field}, which is converted, and {other.model._meta.label} "
            "does not declare that: it reads and writes this column alone.",
            hint=f"Make it a proxy of {field.model._meta.label}, or declare both fields as there.",
            obj=other,
            id="envelope_fields.W101",
        )
        for field in moving
        for model in checked_models(app_configs)
        for other in _beside(field, model)
    ]


def _beside(field: Any, model: type[Model]) -> Iterator[Any]:
    options = model._meta
    if options.proxy or model is field.model or options.db_table != field.model._meta.db_table:
        return
    columns = {field.column, field.plain_field.column}
    for other in options.local_concrete_fields:
        is_mirror = getattr(other, "mirrored", None) is not None
        if other.column in columns and not is_mirror and getattr(other, "converts", None) is None:
            yield other
