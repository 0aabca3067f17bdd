"""What Django asks a model of uniqueness, where some of it is that of blind indexes."""

from collections.abc import Iterator, Sequence
from functools import cached_property, wraps
from typing import Any

from django.core.exceptions import FieldDoesNotExist
from django.db.models.options import Options

from envelope_fields.fields.index.uniqueness import IndexedUnique


class ImpliedUnique(IndexedUnique):
    """What `unique=True` of an index means to Django: the column has the constraint itself."""

    def __init__(self, index: Any) -> None:
        super().__init__(fields=index.source_names, name=f"{index.name}_unique")
        self.index = index

    @property
    def is_total(self) -> bool:
        """Whether no two rows have the same values."""
        return not self.index.part_path and not self.index.is_scoped

    def is_total_in(self, model: Any) -> bool:
        return self.is_total

    def columns(self, model: Any) -> list[Any]:
        return [self.index]

    def constraint_sql(self, model: Any, schema_editor: Any) -> Any:
        return None

    create_sql = remove_sql = constraint_sql


def implied(model: Any) -> list[ImpliedUnique]:
    """Return the constraints that the unique indexes of a model imply."""
    return [
        ImpliedUnique(field)
        for field in model._meta.local_fields
        if hasattr(field, "source_names") and field.unique and not field.is_replaced
    ]


def indexed_constraints(model: Any) -> list[IndexedUnique]:
    """Return the constraints of a model itself that are over blind indexes."""
    declared = [each for each in model._meta.constraints if isinstance(each, IndexedUnique)]
    return [*declared, *implied(model)]


def columns_in_conflict(model: Any, named: Sequence[Any], using: str) -> Sequence[Any]:
    """Return the columns that an upsert finds rows by, of the fields that it names.

    They are those of the constraint that has these fields, or the same as were named.
    """
    names = {field.name for field in named}
    for each in indexed_constraints(model):
        if each.condition is None and names in (set(each.asked_for(model)), each.names_in(model)):
            return each.columns_read(model, using)
    return named


class IndexedOptions(Options):  # type: ignore[type-arg]
    """What Django keeps of a model, with what its unique indexes imply."""

    @cached_property
    def total_unique_constraints(self) -> list[Any]:
        declared: Any = super().total_unique_constraints
        implied_by = implied(self.model)
        return [*declared, *(each for each in implied_by if each.is_total)]


def prepare(model: Any) -> None:
    """Have Django validate unique encrypted values, and take them for unique."""
    if type(model._meta) is Options:
        model._meta.__class__ = IndexedOptions
    vars(model._meta).pop("total_unique_constraints", None)
    if not getattr(model.get_constraints, "with_indexes", False):
        model.get_constraints = _with_implied(model.get_constraints)
        model._get_unique_checks = _without_indexes(model._get_unique_checks)


def _with_implied(get_constraints: Any) -> Any:
    @wraps(get_constraints)
    def with_implied(self: Any) -> list[Any]:
        models = (type(self)._meta.concrete_model, *self._meta.all_parents)
        found = ((model, implied(model)) for model in dict.fromkeys(models))
        return [*get_constraints(self), *((model, each) for model, each in found if each)]

    vars(with_implied)["with_indexes"] = True
    return with_implied


def _without_indexes(get_unique_checks: Any) -> Any:
    """Leave the columns of indexes out of what is validated by what an object holds."""

    @wraps(get_unique_checks)
    def without_indexes(self: Any, *args: Any, **kwargs: Any) -> Any:
        checks, of_dates = get_unique_checks(self, *args, **kwargs)
        return [each for each in checks if not any(_indexes_in(each[0], each[1]))], of_dates

    return without_indexes


def _indexes_in(model: Any, names: Any) -> Iterator[bool]:
    for name in names:
        try:
            yield hasattr(model._meta.get_field(name), "source_names")
        except FieldDoesNotExist:
            yield False
