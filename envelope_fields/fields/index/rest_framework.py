"""Django REST framework: rows are unique by their blind indexes, which no serializer shows.

Imported only where the project has installed it.
"""

from collections.abc import Iterator
from typing import Any

from django.core.exceptions import ValidationError as ModelValidationError
from django.db.models import Model
from rest_framework import serializers
from rest_framework.validators import UniqueTogetherValidator, UniqueValidator

from envelope_fields.fields.index import BlindIndexField
from envelope_fields.fields.index.model_options import indexed_constraints
from envelope_fields.fields.index.uniqueness import IndexedUnique, same_values
from envelope_fields.fields.masks import Mask
from envelope_fields.fields.patches import extend


def register() -> None:
    """Let `ModelSerializer` leave indexes out, and validate by them."""
    extend(serializers.ModelSerializer, "get_default_field_names", _without_indexes)
    extend(serializers.ModelSerializer, "get_unique_together_validators", _by_indexes)
    extend(UniqueTogetherValidator, "filter_queryset", _without_masked)


def _without_indexes(get_default_field_names: Any) -> Any:
    """Have serializers of all fields of a model be without its blind indexes."""

    def default_field_names(self: Any, declared_fields: Any, model_info: Any) -> list[str]:
        fields = model_info.fields
        indexes = {name for name in fields if isinstance(fields[name], BlindIndexField)}
        names = get_default_field_names(self, declared_fields, model_info)
        return [name for name in names if name not in indexes or name in declared_fields]

    return default_field_names


class UniqueValue(UniqueValidator):
    """Refuses a value that another row has, by its blind index."""

    def filter_queryset(self, value: Any, queryset: Any, field_name: str) -> Any:
        field: Any = queryset.model._meta.get_field(field_name)
        try:
            same = same_values(field, value)
        except (TypeError, ValueError):  # no row has it: the framework asks all validators
            same = None
        return queryset.none() if same is None else queryset.filter(same)


class UniqueRow:
    """Refuses a row where another one has the same values, as the model would.

    Args:
        model: whose constraint it is.
        constraint: over blind indexes.
    """

    requires_context = True

    def __init__(self, model: type[Model], constraint: IndexedUnique) -> None:
        self.model = model
        self.constraint = constraint

    def __repr__(self) -> str:
        return f"<UniqueRow({', '.join(self.constraint.fields)})>"

    def __call__(self, attrs: dict[str, Any], serializer: Any) -> None:
        if not self._asks(attrs, serializer.instance):
            return
        model = serializer.Meta.model
        row = _row(model, attrs, serializer.instance)
        try:
            self.constraint.validate(model, row, using=model._default_manager.db)
        except ModelValidationError as error:
            raise self._at_its_fields(error, serializer) from error

    def _asks(self, attrs: dict[str, Any], instance: Any) -> bool:
        """Whether a row is known well enough, and what is unique in it may have changed."""
        names = self.constraint.names_in(self.model)
        if instance is not None:
            return not names.isdisjoint(attrs)
        meta: Any = self.model._meta
        fields = map(meta.get_field, names - attrs.keys())
        return all(field.has_default() for field in fields)

    def _at_its_fields(self, error: ModelValidationError, serializer: Any) -> Any:
        code = getattr(error, "code", None) or "unique"  # it has none where it names a field
        names = self.constraint.asked_for(self.model)
        if len(names) > 1:
            return serializers.ValidationError(error.messages, code=code)
        (source,) = names
        named = (name for name, each in serializer.fields.items() if each.source == source)
        name = next(named, source)
        return serializers.ValidationError({name: error.messages}, code=code)


def _row(model: Any, attrs: dict[str, Any], instance: Any) -> Model:
    """Return what would be stored: an object of its own, which nothing is assigned to later."""
    row: Model = model()
    if instance is not None:
        vars(row).update(vars(instance), _state=row._state)
        row._state.adding, row._state.db = instance._state.adding, instance._state.db
    for field in model._meta.concrete_fields:
        if field.name in attrs:
            setattr(row, field.name, attrs[field.name])
    return row


def unique_values(field: Any) -> list[UniqueValue]:
    """Return what a serializer field of an encrypted field validates beside its type."""
    is_unique = any(
        constraint.asked_for(field.model) == [field.name] and constraint.is_total_in(field.model)
        for constraint in indexed_constraints(field.model)
    )
    return [UniqueValue(queryset=field.model._default_manager)] if is_unique else []


def _by_indexes(get_unique_together_validators: Any) -> Any:
    """Have `ModelSerializer` validate rows by their blind indexes, and not by their envelopes."""

    def unique_together_validators(self: Any) -> list[Any]:
        validators = get_unique_together_validators(self)
        plain = (each for each in validators if not _names_encrypted(self, each))
        return [*plain, *_unique_rows(self)]

    return unique_together_validators


def _without_masked(filter_queryset: Any) -> Any:
    """Have a validator that a project declares leave to the database what the user may not read."""

    def same_rows(self: Any, attrs: dict[str, Any], queryset: Any, serializer: Any) -> Any:
        sources = {serializer.fields[name].source for name in self.fields} - attrs.keys()
        kept = [getattr(serializer.instance, source, None) for source in sources]
        if any(isinstance(each, Mask) for each in kept):
            return queryset.none()
        return filter_queryset(self, attrs, queryset, serializer)

    return same_rows


def _names_encrypted(serializer: Any, validator: UniqueTogetherValidator) -> bool:
    sources = (serializer.fields[name].source for name in validator.fields)
    meta = serializer.Meta.model._meta
    return any(hasattr(meta.get_field(source), "to_plaintext") for source in sources)


def _unique_rows(serializer: Any) -> Iterator[UniqueRow]:
    written = {field.source for field in serializer._writable_fields}
    model = serializer.Meta.model
    for owner in (model, *model._meta.all_parents):
        for constraint in indexed_constraints(owner):
            names = constraint.asked_for(owner)
            is_asked_of_field = len(names) == 1 and constraint.is_total_in(owner)
            if not is_asked_of_field and not written.isdisjoint(names):
                yield UniqueRow(owner, constraint)
