"""Uniqueness of encrypted values: a constraint on their indexes, and errors at their fields."""

from collections.abc import Sequence
from typing import Any

from django.core.exceptions import EmptyResultSet, FieldError, ValidationError
from django.db import DEFAULT_DB_ALIAS
from django.db.models import Exists, F, Model, Q, UniqueConstraint

from envelope_fields.exceptions import EnvelopeError
from envelope_fields.fields.index import macs
from envelope_fields.fields.index.lookup_kinds import IndexExact
from envelope_fields.fields.index.statements import compiled
from envelope_fields.fields.index.terms import Term, forms_of_values, term_of_values
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
        """Return the fields of its columns; `FieldError` if an encrypted field has no index."""
        return [column_of(model._meta.get_field(name)) for name in self.fields]

    def columns_read(self, model: Any, using: str = DEFAULT_DB_ALIAS) -> list[Any]:
        """Return these, with the index that is read now in the place of each."""
        return [_read(column, using) for column in self.columns(model)]

    def asked_for(self, model: Any) -> list[str]:
        """Return the names of what users write: of an index, its encrypted fields."""
        found: list[str] = []
        for name in self.fields:
            field = model._meta.get_field(name)
            found += field.source_names if macs.is_index(field) else [name]
        return found

    def names_in(self, model: Any) -> frozenset[str]:
        """Return the names of the fields that say which rows are the same, with those of scopes."""
        columns = self.columns(model)
        scopes = (each.scope for each in columns if macs.is_index(each))
        return frozenset(self.asked_for(model)).union(*scopes)

    def is_total_in(self, model: Any) -> bool:
        """Whether no two rows have the same, whatever else they have."""
        columns = self.columns(model)
        return self.condition is None and not any(
            getattr(column, "is_scoped", False) for column in columns
        )

    def row(self, model: Any, instance: Any, same: Any = ()) -> tuple[Any, ...] | None:
        """Return what tells an object from others; None where nothing needs to.

        Args:
            same: the names of fields that are the same in all that it is told from.
        """
        found = [_compared_with(column, instance, same) for column in self.columns(model)]
        return None if None in found and self.nulls_distinct is not False else tuple(found)

    def constraint_sql(self, model: Any, schema_editor: Any) -> Any:
        return self._over_indexes(model).constraint_sql(model, schema_editor)

    def create_sql(self, model: Any, schema_editor: Any) -> Any:
        return self._over_indexes(model).create_sql(model, schema_editor)

    def remove_sql(self, model: Any, schema_editor: Any) -> Any:
        return self._over_indexes(model).remove_sql(model, schema_editor)

    def validate(
        self, model: Any, instance: Any, exclude: Any = None, using: str = DEFAULT_DB_ALIAS
    ) -> None:
        if exclude and not set(self.asked_for(model)).isdisjoint(exclude):
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
        for column in self.columns_read(model):
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
            names = self.asked_for(model)
            error: ValidationError = instance.unique_error_message(model, names)
            if len(names) == len(self.fields) == 1 and names != list(self.fields):
                return ValidationError({names[0]: error})  # forms have no field for the index
            return ValidationError(error, code=error.code)
        return ValidationError(self.get_violation_error_message(), self.violation_error_code)


class _Same(IndexExact):
    """Whether a row has an index, be it complete or not: one that has it is enough."""

    def _column(self, lhs: Any) -> Any:
        return lhs

    def _looked_for(self, prepared: Any) -> Any:
        return prepared.value

    def _read(self, using: str) -> tuple[Any, list[Term]]:
        return self.index, [self.rhs]

    def _made(self, index: Any, terms: Sequence[Term], compiler: Any, connection: Any) -> list[Any]:
        using = connection.alias
        if any(macs.lacks_key(index, term.alias) for term in terms):
            raise EmptyResultSet
        values = [macs.index_value(index, term.alias, term, using) for term in terms]
        return [compiled(value, index, compiler, connection) for value in values]


def column_of(field: Any) -> Any:
    """Return the field whose column tells values apart: of an encrypted field, an index."""
    if not hasattr(field, "to_plaintext"):
        return field
    for index in field.indexes:
        if index.covers_value:
            return index
    raise FieldError(
        f"{field} has no blind index, so the database cannot tell whether two values are the same. "
        f'Add one: {field.name}_index = BlindIndexField("{field.name}").'
    )


def _read(column: Any, using: str = DEFAULT_DB_ALIAS) -> Any:
    """Return the index that is read in the place of one; any other field as it is."""
    if not macs.is_index(column):
        return column
    newest = column.newest
    return newest.read(using, newest.only_alias)


def _compared_with(column: Any, instance: Any, same: Any) -> Any:
    """Return what an object has in a column, or its index is made of; None for NULL."""
    if not macs.is_index(column):
        return column.name if column.name in same else getattr(instance, column.attname)
    forms = forms_of_values(column, prepared) if (prepared := _prepared(column, instance)) else None
    scope = [_compared_with(each.field, instance, same) for each in column.scope_columns]
    return None if forms is None or None in scope else (*forms, *scope)


def _same_in(column: Any, instance: Model) -> Any:
    """Return the condition that a row has the same in a column as an object; None for NULL."""
    if not macs.is_index(column):
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
    prepared = _prepared(index, instance)
    scope = index.scope_of(instance)
    if prepared is None or _is_open(index, scope):
        return None
    return term_of_values(index, prepared, scope)


def _prepared(index: Any, instance: Model) -> list[Unencrypted] | None:
    try:
        values = [getattr(instance, source.field.attname) for source in index.sources]
    except EnvelopeError:
        return None  # the value is not changed, and the database decides
    if any(isinstance(value, Mask) for value in values):
        return None
    return [Unencrypted(value, instance) for value in values]


def _is_open(index: Any, scope: Any) -> bool:
    """Whether a row has no scope yet, such as one whose parent is not saved."""
    columns = index.scope_columns
    return any(scope[each.attname] is None and not each.field.null for each in columns)


# -- While one index replaces another --------------------------------------------------------------


def lost_with(index: Any) -> list[str]:
    """Return what an index keeps unique, and the one that replaces it would not."""
    [newer] = index.replacing
    lost = [f"unique=True of {newer.name}"] if index.unique and not newer.unique else []
    over = [each for each in declared(index.model) if index in each.columns(index.model)]
    return lost + [
        f"a constraint like {each.name!r} that names {newer.name}"
        for each in over
        if not _is_doubled(each, index.model)
    ]


def declared(model: Any) -> list[IndexedUnique]:
    """Return the constraints over indexes that a model declares."""
    return [each for each in model._meta.constraints if isinstance(each, IndexedUnique)]


def _is_doubled(constraint: IndexedUnique, model: Any) -> bool:
    """Whether a constraint is over an index that is replaced, and one like it over the other."""
    columns = constraint.columns(model)
    wanted = [_replacing(each) for each in columns]
    if wanted == columns:
        return False
    options = _options(constraint)
    beside = [each for each in declared(model) if _options(each) == options]
    return any(each.columns(model) == wanted for each in beside)


def _replacing(column: Any) -> Any:
    newer = column.replacing if macs.is_index(column) else []
    return newer[0] if newer else column


def _options(constraint: IndexedUnique) -> dict[str, Any]:
    _, _, options = constraint.deconstruct()
    return {name: options[name] for name in options if name not in ("fields", "name")}
