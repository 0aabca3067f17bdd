"""Blind indexes as they were begun, against what is declared now."""

from collections.abc import Iterator, Sequence
from typing import Any

from django.core.checks import CheckMessage, Error, Warning
from django.core.exceptions import FieldError, ImproperlyConfigured

from envelope_fields.checks.keys import keys_database
from envelope_fields.checks.models import AppConfigs, checked_models
from envelope_fields.fields.index.macs import column_of, is_index
from envelope_fields.models import BlindIndex, IndexState


def check_begun_indexes(
    app_configs: AppConfigs = None, databases: Sequence[str] | None = None, **_: Any
) -> list[CheckMessage]:
    """Look how far the declared indexes are, and whether they are what they were begun as."""
    declared: list[Any] = [
        field
        for model in checked_models(app_configs)
        for field in model._meta.local_fields
        if is_index(field)
    ]
    using = keys_database(databases, BlindIndex) if declared else None
    if using is None:
        return []
    begun = {row.label: row for row in BlindIndex.objects.using(using)}
    found = ((index, begun.get(index.field_path)) for index in declared)
    return [message for index, row in found if row for message in _standing(index, row)]


def _standing(index: Any, row: BlindIndex) -> Iterator[CheckMessage]:
    if row.state == IndexState.RETIRED:
        yield Error(
            f"{index} is retired, and no lookup asks it any more.",
            hint="Remove it from the model; what is to be found takes an index of another name.",
            obj=index,
            id="envelope_fields.E088",
        )
    elif _is_otherwise(index, row):
        yield Error(
            f"{index} was begun with the normalizer {row.normalizer!r}, version "
            f"{row.normalizer_version}, as {row.name}, and is declared otherwise now, or its "
            "normalizer makes something else.",
            hint=(
                "Put that back. To change it, add an index of another name that replaces= this "
                "one, and fill it with `python manage.py rebuild_indexes`."
            ),
            obj=index,
            id="envelope_fields.E089",
        )
    elif row.state != IndexState.READING:
        label = IndexState(row.state).label
        yield Warning(
            f"{index} is {label}: every process writes it, and lookups raise.",
            hint=f"`python manage.py rebuild_indexes {row.label} --to reading`.",
            obj=index,
            id="envelope_fields.W080",
        )


def _is_otherwise(index: Any, row: BlindIndex) -> bool:
    try:
        column = column_of(index)
    except (FieldError, ImproperlyConfigured):  # E080 or E081 says so
        return False
    domain = column.domain
    now = (column.name, domain.normalizer, domain.normalizer_version, column.fingerprint)
    return now != (row.name, row.normalizer, row.normalizer_version, row.fingerprint)
