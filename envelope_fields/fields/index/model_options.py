"""What Django asks models and their formsets of uniqueness, where some is that of indexes."""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

from django.core.exceptions import NON_FIELD_ERRORS, FieldDoesNotExist, ValidationError
from django.db.models.options import Options
from django.forms.models import BaseModelFormSet

from envelope_fields.fields.index.uniqueness import IndexedUnique, declared
from envelope_fields.fields.patches import extend


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
    return [*declared(model), *implied(model)]


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
        found: Any = super().total_unique_constraints
        return [*found, *(each for each in implied(self.model) if each.is_total)]


def prepare(model: Any) -> None:
    """Have Django validate unique encrypted values, and take them for unique."""
    if type(model._meta) is Options:
        model._meta.__class__ = IndexedOptions
    vars(model._meta).pop("total_unique_constraints", None)
    extend(model, "get_constraints", _with_implied)
    extend(model, "_get_unique_checks", _without_indexes)


def _with_implied(get_constraints: Any) -> Any:
    def with_implied(self: Any) -> list[Any]:
        models = (type(self)._meta.concrete_model, *self._meta.all_parents)
        found = ((model, implied(model)) for model in dict.fromkeys(models))
        return [*get_constraints(self), *((model, each) for model, each in found if each)]

    return with_implied


def _without_indexes(get_unique_checks: Any) -> Any:
    """Leave the columns of indexes out of what is validated by what an object holds."""

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


# -- Objects of one formset ------------------------------------------------------------------------


def register() -> None:
    """Have formsets compare by blind indexes, too.

    Django compares what is posted, and values that are not the same may have the same normal form.
    """
    extend(BaseModelFormSet, "validate_unique", _validating)


def _validating(validate: Callable[[Any], None]) -> Callable[[Any], None]:
    def validate_unique(self: Any) -> None:
        errors: list[Any] = []
        try:
            validate(self)
        except ValidationError as error:
            errors += error.error_list
        errors += dict.fromkeys(_duplicates(self))
        if errors:
            raise ValidationError(errors)

    return validate_unique


def _duplicates(formset: Any) -> Iterator[str]:
    """Refuse each form whose object would be the same as that of one before it."""
    seen = set()
    for form in formset.forms:
        if form in formset.deleted_forms or not form.is_valid():
            continue
        for model, constraint in _constraints(form):
            row = constraint.row(model, form.instance, formset.unique_fields)
            if row is None:
                continue
            if (constraint.name, row) in seen:
                yield _refused(formset, form, constraint.asked_for(model))
            seen.add((constraint.name, row))


def _constraints(form: Any) -> Iterator[tuple[Any, IndexedUnique]]:
    excluded = form._get_validation_exclusions()
    for model, constraints in form.instance.get_constraints():
        for each in constraints:
            is_total = isinstance(each, IndexedUnique) and each.condition is None
            if is_total and excluded.isdisjoint(each.asked_for(model)):
                yield model, each


def _refused(formset: Any, form: Any, names: list[str]) -> str:
    message = formset.get_form_error()
    form._errors[NON_FIELD_ERRORS] = form.error_class([message], renderer=form.renderer)
    for name in names:  # it is not valid, and Django takes it out, too
        form.cleaned_data.pop(name, None)
    return str(formset.get_unique_error_message(names))
