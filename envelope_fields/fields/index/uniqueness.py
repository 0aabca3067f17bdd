"""Uniqueness of encrypted values: a constraint on their indexes, and errors at their fields."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property, wraps
from typing import Any

from django.core.exceptions import FieldDoesNotExist, FieldError, ValidationError
from django.db import DEFAULT_DB_ALIAS
from django.db.models import Exists, F, Model, Q, UniqueConstraint
from django.db.models.options import Options

from envelope_fields.exceptions import EnvelopeError
from envelope_fields.fields.index import macs
from envelope_fields.fields.index.lookups import IndexExact
from envelope_fields.fields.index.statements import compiled
from envelope_fields.fields.index.terms import Term, term_of_values
from envelope_fields.fields.masks import Mask
from envelope_fields.fields.prepared import Unencrypted


class IndexedUnique(UniqueConstraint):
    """A `UniqueConstraint` over encrypted fields: `IndexedUnique(fields=["tenant", "email"], …)`.

    Each encrypted field that it names has a blind index, and the constraint is over that. Where
    there are several, it is the one that is declared first; or name the index.
    """

    def __init__(self, *, fields: Any, name: str, **options: Any) -> None:
        super().__init__(fields=fields, name=name, **options)

    def deconstruct(self) -> Any:
        _, args, kwargs = super().deconstruct()
        return "envelope_fields.fields.IndexedUnique", args, kwargs

    def _over_indexes(self, model: Any) -> UniqueConstraint:
        """Return the constraint that the database has."""
        _, _, options = super().deconstruct()
        names = [column.name for column in self.columns(model)]
        return UniqueConstraint(**{**options, "fields": names})

    def columns(self, model: Any) -> list[Any]:
        """Return the fields of the columns that the constraint is over.

        Raises:
            FieldError: an encrypted field has no index.
        """
        return [column_of(model._meta.get_field(name)) for name in self.fields]

    def _asked(self, model: Any) -> list[Any]:
        """Return these, with the index that is read now in the place of each."""
        return [_read(column) for column in self.columns(model)]

    def _asked_for(self, model: Any) -> list[str]:
        """Return the names of what users write: of an index, its encrypted fields."""
        found: list[str] = []
        for name in self.fields:
            field = model._meta.get_field(name)
            found += field.source_names if macs.is_index(field) else [name]
        return found

    def constraint_sql(self, model: Any, schema_editor: Any) -> Any:
        return self._over_indexes(model).constraint_sql(model, schema_editor)

    def create_sql(self, model: Any, schema_editor: Any) -> Any:
        return self._over_indexes(model).create_sql(model, schema_editor)

    def remove_sql(self, model: Any, schema_editor: Any) -> Any:
        return self._over_indexes(model).remove_sql(model, schema_editor)

    def validate(
        self, model: Any, instance: Any, exclude: Any = None, using: str = DEFAULT_DB_ALIAS
    ) -> None:
        if exclude and not set(self._asked_for(model)).isdisjoint(exclude):
            return
        if _is_doubled(self, model):
            return  # the other one asks the index that is read
        same = self._same(model, instance)
        if same is None:
            return
        rows = model._default_manager.using(using).filter(*same)
        if not instance._state.adding and instance._is_pk_set(model._meta):
            rows = rows.exclude(pk=instance._get_pk_val(model._meta))
        if self.condition is None:
            if rows.exists():
                raise self._violated_by(model, instance)
        elif self._applies_to(model, instance, exclude, using, rows):
            raise ValidationError(self.get_violation_error_message(), self.violation_error_code)

    def _same(self, model: Any, instance: Model) -> list[Any] | None:
        """Return the conditions that rows like an object meet; None where there can be none."""
        found = []
        for column in self._asked(model):
            condition = _same_in(column, instance)
            if condition is None and self.nulls_distinct is not False:
                return None
            found.append(Q((f"{column.name}__isnull", True)) if condition is None else condition)
        return found

    def _applies_to(self, model: Any, instance: Any, exclude: Any, using: str, rows: Any) -> bool:
        condition: Any = self.condition
        names = {field.name for field in model._meta.local_concrete_fields}
        unasked = names - condition.referenced_base_fields  # they may not open
        known = instance._get_field_expression_map(
            meta=model._meta, exclude={*(exclude or ()), *unasked}
        )
        try:
            return bool((condition & Exists(rows.filter(condition))).check(known, using=using))
        except FieldError:  # the condition asks for a field that is excluded
            return False

    def _violated_by(self, model: Any, instance: Any) -> ValidationError:
        if self.violation_error_message == self.default_violation_error_message:
            names = self._asked_for(model)
            error: ValidationError = instance.unique_error_message(model, names)
            if len(names) == len(self.fields) == 1 and names != list(self.fields):
                return ValidationError({names[0]: error})  # forms have no field for the index
            return ValidationError(error, code=error.code)
        return ValidationError(self.get_violation_error_message(), self.violation_error_code)


class _ImpliedUnique(IndexedUnique):
    """What `unique=True` of an index means to Django: the column has the constraint itself."""

    def __init__(self, index: Any) -> None:
        super().__init__(fields=index.source_names, name=f"{index.name}_unique")
        self.index = index

    @property
    def is_total(self) -> bool:
        """Whether no two rows have the same values."""
        return not self.index.part_path and not self.index.is_scoped

    def columns(self, model: Any) -> list[Any]:
        return [self.index]

    def constraint_sql(self, model: Any, schema_editor: Any) -> Any:
        return None

    create_sql = remove_sql = constraint_sql


class _Same(IndexExact):
    """Whether a row has an index, be it complete or not: one that has it is enough."""

    def _column(self, lhs: Any) -> Any:
        return lhs

    def _looked_for(self, carrier: Any) -> Any:
        return carrier.value

    def _read(self, using: str) -> tuple[Any, list[Term]]:
        return self.index, [self.rhs]

    def _made(self, index: Any, terms: Sequence[Term], compiler: Any, connection: Any) -> list[Any]:
        using = connection.alias
        values = [macs.index_value(index, term.alias, term, using) for term in terms]
        return [compiled(value, index, compiler, connection) for value in values]


def column_of(field: Any) -> Any:
    """Return the field whose column tells values apart: of an encrypted field, an index.

    Raises:
        FieldError: it has none.
    """
    if not hasattr(field, "to_plaintext"):
        return field
    for index in field.indexes:
        if index.covers_value:
            return index
    raise FieldError(
        f"{field} has no blind index, so the database cannot tell whether two values are the same. "
        f'Add one: {field.name}_index = BlindIndexField("{field.name}").'
    )


def _read(column: Any) -> Any:
    """Return the index that is read in the place of one; any other field as it is."""
    if not macs.is_index(column):
        return column
    newest = column.newest
    return newest.read(DEFAULT_DB_ALIAS, newest.only_alias)


def _same_in(column: Any, instance: Model) -> Any:
    """Return the condition that a row has the same in a column as an object; None for NULL."""
    if not hasattr(column, "source_names"):
        value = getattr(instance, column.attname)
        return None if value is None else Q((column.attname, value))
    term = term_in(column, instance)
    return None if term is None else _same(column, term)


def _same(index: Any, term: Term) -> Any:
    return type(_Same.__name__, (_Same,), {"index": index})(F(index.name), term)


def same_values(field: Any, value: Any) -> Any:
    """Return the condition that a row has a value in a field, by an index; None for no value."""
    index = _read(column_of(field))
    term = term_of_values(index, [Unencrypted(value, None)], None)
    return None if term is None else _same(index, term)


def term_in(index: Any, instance: Model) -> Term | None:
    """Return what the index of an object is made of; None also where the principal may not look."""
    try:
        values = [getattr(instance, source.field.attname) for source in index.sources]
    except EnvelopeError:
        return None  # the value is not changed, and the database decides
    if any(isinstance(value, Mask) for value in values):
        return None
    carriers = [Unencrypted(value, instance) for value in values]
    return term_of_values(index, carriers, index.scope_of(instance))


# -- While one index replaces another --------------------------------------------------------------


def lost_with(index: Any) -> list[str]:
    """Return what an index keeps unique, and the one that replaces it would not."""
    [newer] = index.replacing
    lost = [f"unique=True of {newer.name}"] if index.unique and not newer.unique else []
    over = [each for each in _declared(index.model) if index in each.columns(index.model)]
    return lost + [
        f"a constraint like {each.name!r} that names {newer.name}"
        for each in over
        if not _is_doubled(each, index.model)
    ]


def _declared(model: Any) -> list[IndexedUnique]:
    return [each for each in model._meta.constraints if isinstance(each, IndexedUnique)]


def _is_doubled(constraint: IndexedUnique, model: Any) -> bool:
    """Whether a constraint is over an index that is replaced, and one like it over the other."""
    columns = constraint.columns(model)
    wanted = [_replacing(each) for each in columns]
    if wanted == columns:
        return False
    options = _options(constraint)
    beside = [each for each in _declared(model) if _options(each) == options]
    return any(each.columns(model) == wanted for each in beside)


def _replacing(column: Any) -> Any:
    newer = column.replacing if macs.is_index(column) else []
    return newer[0] if newer else column


def _options(constraint: IndexedUnique) -> dict[str, Any]:
    _, _, options = constraint.deconstruct()
    return {name: options[name] for name in options if name not in ("fields", "name")}


# -- What Django asks a model ----------------------------------------------------------------------


def implied(model: Any) -> list[_ImpliedUnique]:
    """Return the constraints that the unique indexes of a model imply."""
    return [
        _ImpliedUnique(field)
        for field in model._meta.local_fields
        if hasattr(field, "source_names") and field.unique and not field.is_replaced
    ]


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
