"""Constraints and relations that name encrypted fields or their blind indexes."""

from collections.abc import Iterator
from typing import Any

from django.core.checks import CheckMessage, Error
from django.core.exceptions import FieldDoesNotExist, FieldError
from django.db.models import Model

from envelope_fields.checks.models import AppConfigs, checked_models
from envelope_fields.fields import BlindIndexField, EncryptedFieldMixin, IndexedUnique
from envelope_fields.fields.index.uniqueness import lost_with


def check_indexes(app_configs: AppConfigs = None, **_: Any) -> list[CheckMessage]:
    """Check what models declare about blind indexes, but for what an index can tell by itself."""
    return [
        message
        for model in checked_models(app_configs)
        for rule in (_constraints, _together, _indexed_unique, _replaced, _relations)
        for message in rule(model)
    ]


def _constraints(model: type[Model]) -> Iterator[CheckMessage]:
    for constraint in model._meta.constraints:
        if not isinstance(constraint, IndexedUnique):
            yield from _named(model, getattr(constraint, "fields", ()), repr(constraint.name))


def _together(model: type[Model]) -> Iterator[CheckMessage]:
    together: Any = model._meta.unique_together
    for names in together if isinstance(together, list | tuple) else ():  # else Django says so
        yield from _named(model, names, "'unique_together'")


def _named(model: type[Model], names: Any, where: str) -> Iterator[CheckMessage]:
    for name in names:
        field = _field(model, name)
        if isinstance(field, BlindIndexField):
            yield Error(
                f"{where} names the blind index {field}.",
                hint="Forms would not validate it. Write IndexedUnique(fields=[…]) of the "
                "encrypted fields; for one alone, unique=True of its index.",
                obj=model,
                id="envelope_fields.E084",
            )


def _indexed_unique(model: type[Model]) -> Iterator[CheckMessage]:
    for constraint in model._meta.constraints:
        if not isinstance(constraint, IndexedUnique):
            continue
        try:
            constraint.columns(model)
        except (FieldError, FieldDoesNotExist) as error:
            yield Error(str(error), obj=model, id="envelope_fields.E085")


def _replaced(model: type[Model]) -> Iterator[CheckMessage]:
    for index in model._meta.local_fields:
        if not isinstance(index, BlindIndexField) or len(index.replacing) != 1:
            continue
        try:
            lost = lost_with(index)
        except (FieldError, FieldDoesNotExist):  # E085 says so
            continue
        if lost:
            yield Error(
                f"{index} keeps values unique, and {index.replacing[0]}, which replaces it, "
                "would not.",
                hint=f"Declare {'; '.join(lost)}.",
                obj=index,
                id="envelope_fields.E083",
            )


def _relations(model: type[Model]) -> Iterator[CheckMessage]:
    for field in model._meta.local_fields:
        remote: Any = field.remote_field
        if remote is None or isinstance(remote.model, str):
            continue
        target = _field(remote.model, getattr(remote, "field_name", None))
        if isinstance(target, EncryptedFieldMixin | BlindIndexField):
            yield Error(
                f"The relation refers to {target}, which is encrypted or the index of what is.",
                hint="A relation would copy it into another table. Refer to the primary key.",
                obj=field,
                id="envelope_fields.E086",
            )


def _field(model: Any, name: Any) -> Any:
    try:
        return model._meta.get_field(name) if name else None
    except FieldDoesNotExist:  # which Django reports
        return None
