"""Blind indexes as they were begun, against what is declared now."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.core.checks import CheckMessage, Error, Warning
from django.core.exceptions import FieldError, ImproperlyConfigured

from envelope_fields.checks.keys import keys_database
from envelope_fields.checks.models import AppConfigs, blind_indexes, checked_models
from envelope_fields.fields.index.macs import column_of
from envelope_fields.keyring.index_rows import are_same, changes, is_written_with, kept_sources
from envelope_fields.models import BlindIndex, BlindIndexKey, IndexState


def check_begun_indexes(
    app_configs: AppConfigs = None, databases: Sequence[str] | None = None, **_: Any
) -> list[CheckMessage]:
    """Look how far the declared indexes are, and whether they are what they were begun as."""
    declared = blind_indexes(checked_models(app_configs))
    using = keys_database(databases, BlindIndex) if declared else None
    if using is None:
        return []
    begun = {row.label: row for row in BlindIndex.objects.using(using)}
    found = ((index, begun.get(index.field_path)) for index in declared)
    return [
        message
        for index, row in found
        if row
        for message in (*_lacking(index, row, begun), *_standing(index, row, begun))
    ]


_Begun = Mapping[str, BlindIndex]


def _lacking(index: Any, row: BlindIndex, begun: _Begun) -> Iterator[CheckMessage]:
    """Report indexes that other builds write together with one, and this one does not."""
    wanted = {label for label, other in begun.items() if is_written_with(other, row)}
    for label in sorted(wanted - index.labels_beside):
        other = begun[label]
        yield Error(
            f"{index} is written together with {label}, which is "
            f"{IndexState(other.state).label} and not in the model.",
            hint=(
                f"Retire that first: `python manage.py rebuild_indexes {label} --to retired`."
                if label == row.replaces
                else "Deploy a build that has both. To go back to this one, run there: `python "
                f"manage.py rebuild_indexes {label} --to filling`."
            ),
            obj=index,
            id="envelope_fields.E079",
        )


def _standing(index: Any, row: BlindIndex, begun: _Begun) -> Iterator[CheckMessage]:
    if row.state == IndexState.RETIRED and index.is_replaced:
        yield Warning(
            f"{index} is retired, and {index.replacing[0].name} has its place.",
            hint="Remove it from the model with the next deployment, and its column with the one "
            "after that.",
            obj=index,
            id="envelope_fields.W089",
        )
    elif row.state == IndexState.RETIRED:
        yield Error(
            f"{index} is retired, and no lookup asks it any more.",
            hint="Remove it from the model; what is to be found takes an index of another name.",
            obj=index,
            id="envelope_fields.E088",
        )
    elif changed := _changes(index, row):
        yield Error(
            f"{index} was begun otherwise than it is declared now: {'; '.join(changed)}.",
            hint=(
                "It is neither written nor asked. Put that back. To change it, add an index of "
                f"another name: {_successor(index, row)}"
            ),
            obj=index,
            id="envelope_fields.E089",
        )
    elif row.state != IndexState.READING:
        label = IndexState(row.state).label
        replaced = None if index.replaced is None else begun.get(index.replaced.field_path)
        is_replaced_read = replaced is not None and replaced.state == IndexState.READING
        lookups = f"ask {index.replaced.name}" if is_replaced_read else "raise"
        yield Warning(
            f"{index} is {label}: every process writes it, and lookups {lookups}.",
            hint=f"`python manage.py rebuild_indexes {row.label} --to reading`.",
            obj=index,
            id="envelope_fields.W080",
        )


def _changes(index: Any, row: BlindIndex) -> list[str]:
    """Return what has changed in the declaration of an index since it was begun."""
    try:
        column = column_of(index)
    except (FieldError, ImproperlyConfigured):  # E080 or E081 says so
        return []
    changed = changes(column, row, kept_sources(row))
    if index.only_alias is not None and not changed:
        pins = BlindIndexKey.objects.using(row._state.db).filter(name=row.name)
        keys = set(pins.values_list("master_key__alias", flat=True))
        if keys and index.only_alias not in keys:
            listed = " and ".join(sorted(map(repr, keys)))
            changed.append(f"its search key is {index.only_alias!r}, and was {listed}")
    return changed


def _successor(index: Any, row: BlindIndex) -> str:
    kept = kept_sources(row)
    taken = {field.name for field in index.model._meta.get_fields()}
    column, is_same = column_of(index), not kept or are_same(column_of(index).sources, kept)
    normalizer = column.domain.normalizer, column.domain.normalizer_version
    maybe_scope = column.fingerprint != row.fingerprint and normalizer == (
        row.normalizer,
        row.normalizer_version,
    )
    line = index.successor(index.name, taken, replaces=is_same and not maybe_scope)
    return (
        f'{line}, with replaces="{index.name}" if the scope is as it was' if maybe_scope else line
    )
