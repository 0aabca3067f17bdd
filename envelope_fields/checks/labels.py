"""Labels: each belongs to one column, so that an envelope moved to another is not read there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from django.core.checks import CheckMessage, Error, Warning

from envelope_fields.checks.references import (
    AppConfigs,
    all_models,
    checked_models,
    encrypted_fields,
)


def check_labels(app_configs: AppConfigs = None, **_: Any) -> list[CheckMessage]:
    """Compare the labels of all encrypted fields, and report on the applications checked."""
    checked = set(checked_models(app_configs))
    fields = [
        field
        for field in encrypted_fields(all_models(app_configs))
        if isinstance(field.label, str)  # else E017 says so
    ]
    return [
        message
        for rule in (_shared, _mirrors, _previous)
        for message, concerned in rule(fields)
        if not checked.isdisjoint(field.model for field in concerned)
    ]


Found = Iterator[tuple[CheckMessage, list[Any]]]


def _shared(fields: list[Any]) -> Found:
    for label, sharing in _groups(fields, lambda field: field.label):
        if _may_be_one_column(sharing):
            message: CheckMessage = Warning(
                f"The label {label!r} is that of several fields: {_names(sharing)}.",
                hint=(
                    "Right where an unmanaged model shows the table of another. If they are two "
                    "columns, give each a context= of its own: an envelope copied from one to "
                    "the other would be read there."
                ),
                obj=sharing[-1],
                id="envelope_fields.W030",
            )
        else:
            message = Error(
                f"The label {label!r} is used for several columns: {_names(sharing)}.",
                hint=(
                    "An envelope copied from one to the other would be read there. Give each a "
                    "context= of its own, or leave context= out."
                ),
                obj=sharing[-1],
                id="envelope_fields.E030",
            )
        yield message, sharing


def _mirrors(fields: list[Any]) -> Found:
    for _, same in _groups(fields, _column):
        labels = {field.label for field in same}
        if len(labels) > 1 and not all(field.model._meta.managed for field in same):
            original = next((field for field in same if field.model._meta.managed), same[0])
            yield (
                Warning(
                    f"One column is mapped under several labels: {_names(same)}.",
                    hint=(
                        "What one of them writes, the others cannot read. Give them all "
                        f"context={original.label!r}, unless they are in different databases."
                    ),
                    obj=same[-1],
                    id="envelope_fields.W031",
                ),
                same,
            )


def _previous(fields: list[Any]) -> Found:
    present = dict(_by(fields, lambda field: field.label))
    for field in fields:
        for label in filter(_is_text, field.previous_contexts):  # else E018 says so
            for other in present.get(label, ()):
                if other.label != field.label and _column(other) != _column(field):
                    yield (
                        Error(
                            f"'previous_contexts' names {label!r}, the present label of {other}.",
                            hint=(
                                "An envelope copied from there would be read here. Remove it, "
                                "and save again what was written under it."
                            ),
                            obj=field,
                            id="envelope_fields.E031",
                        ),
                        [field, other],
                    )


def _is_text(label: Any) -> bool:
    return isinstance(label, str)


def _may_be_one_column(sharing: list[Any]) -> bool:
    managed = [field for field in sharing if field.model._meta.managed]
    return len(managed) < 2 and len({field.model for field in sharing}) == len(sharing)


def _groups(fields: list[Any], key: Callable[[Any], Any]) -> Iterator[tuple[Any, list[Any]]]:
    return (item for item in _by(fields, key) if len(item[1]) > 1)


def _by(fields: list[Any], key: Callable[[Any], Any]) -> Iterable[tuple[Any, list[Any]]]:
    found = defaultdict(list)
    for field in fields:
        found[key(field)].append(field)
    return found.items()


def _column(field: Any) -> tuple[str, str]:
    return field.model._meta.db_table, field.column


def _names(fields: list[Any]) -> str:
    return ", ".join(map(str, fields))
