"""Django REST framework: masks are dots in answers, and what is posted for them is ignored.

Nothing is ordered by encrypted columns, and rows are unique by their blind indexes.

Imported only where the project has installed it.
"""

from collections.abc import Iterator
from functools import cache, wraps
from typing import Any

from django.core.exceptions import ValidationError as ModelValidationError
from django.db.models import Model
from django.utils.encoding import is_protected_type
from rest_framework import serializers
from rest_framework.fields import SkipField
from rest_framework.filters import OrderingFilter, SearchFilter
from rest_framework.validators import UniqueTogetherValidator, UniqueValidator

from envelope_fields.exceptions import EnvelopeError
from envelope_fields.fields.columns import orders_nothing
from envelope_fields.fields.forms import DOTS_ARE_NO_VALUE
from envelope_fields.fields.index import BlindIndexField
from envelope_fields.fields.index.model_options import indexed_constraints
from envelope_fields.fields.index.terms import finding_nothing
from envelope_fields.fields.index.uniqueness import IndexedUnique, same_values
from envelope_fields.fields.masks import Mask, is_dots, shown
from envelope_fields.fields.storing import StoringMixin


class MaskingFieldMixin(serializers.Field):  # type: ignore[type-arg]
    """For serializer fields of one's own: put it before the field class."""

    def run_validation(self, data: Any = serializers.empty) -> Any:
        instance = getattr(self.parent, "instance", None)
        source = self.source_attrs[-1] if self.source_attrs else ""
        if _is_masked(instance, source):
            raise SkipField
        if is_dots(data):  # the user who saw them may read the value by now
            if instance is None:
                raise serializers.ValidationError(DOTS_ARE_NO_VALUE)
            raise SkipField
        return super().run_validation(data)

    def to_representation(self, value: Any) -> Any:
        return str(value) if isinstance(value, Mask) else super().to_representation(value)


def _is_masked(instance: Any, name: str) -> bool:
    try:
        return isinstance(getattr(instance, name, None), Mask)
    except EnvelopeError:  # it does not open for anyone, and may be replaced
        return False


class EncryptedSerializerMixin(serializers.Serializer):  # type: ignore[type-arg]
    """Shows the words "cannot be opened" where a value cannot be, instead of failing.

    Put it before the class of a serializer, and of each nested one. Users who may view the key see
    the cause. The words are refused as input.
    """

    def to_representation(self, instance: Any) -> Any:
        if not isinstance(instance, Model):
            return super().to_representation(instance)
        with shown(instance):
            data = super().to_representation(instance)
        return {name: str(each) if isinstance(each, Mask) else each for name, each in data.items()}


class MaskingCharField(MaskingFieldMixin, serializers.CharField):
    """What `ModelSerializer` uses for an `EncryptedTextField` that masks."""


class MaskingJSONField(MaskingFieldMixin, serializers.JSONField):
    """What `ModelSerializer` uses for an `EncryptedJSONField` that masks."""


class EncryptedModelField(serializers.ModelField):
    """What `ModelSerializer` uses for an encrypted field whose type it does not know."""

    def get_attribute(self, obj: Any) -> Any:
        return getattr(obj, self.model_field.attname)

    def to_representation(self, value: Any) -> Any:
        if is_protected_type(value):
            return value
        # As the plain field would; its own text is an envelope.
        row = type("Row", (), {self.model_field.attname: value})()
        field: Any = self.model_field
        return super(StoringMixin, field).value_to_string(row)  # type: ignore[misc]  # of its MRO


@cache
def masking(field_class: type) -> type:
    """Return a serializer field class that does the same, and shows dots for masks.

    `ModelSerializer` uses it for encrypted fields that mask, whatever their type is.
    """
    if issubclass(field_class, MaskingFieldMixin):
        return field_class
    known = {each.__bases__[-1]: each for each in (MaskingCharField, MaskingJSONField)}
    made = type(f"Masking{field_class.__name__}", (MaskingFieldMixin, field_class), {})
    return known.get(field_class, made)


def register() -> None:
    """Let `ModelSerializer` know encrypted fields, and leave indexes out; and filters of views."""
    _register_masking_fields()
    _leave_out_indexes()
    _leave_out_of_ordering()
    _search_for_anything()
    _register_validators()


def _leave_out_indexes() -> None:
    """Have serializers of all fields of a model be without its blind indexes."""
    get_names = serializers.ModelSerializer.get_default_field_names
    if hasattr(get_names, "__wrapped__"):
        return

    @wraps(get_names)
    def default_field_names(self: Any, declared_fields: Any, model_info: Any) -> list[str]:
        fields = model_info.fields
        indexes = {name for name in fields if isinstance(fields[name], BlindIndexField)}
        names = get_names(self, declared_fields, model_info)
        return [name for name in names if name not in indexes or name in declared_fields]

    setattr(serializers.ModelSerializer, "get_default_field_names", default_field_names)  # noqa: B010


def _leave_out_of_ordering() -> None:
    """Have `?ordering=` ignore encrypted columns, as it does what is no column."""
    get_valid_fields = OrderingFilter.get_valid_fields
    if hasattr(get_valid_fields, "__wrapped__"):
        return

    @wraps(get_valid_fields)
    def valid_fields(self: Any, queryset: Any, *args: Any, **kwargs: Any) -> list[Any]:
        return [
            (name, label)
            for name, label in get_valid_fields(self, queryset, *args, **kwargs)
            if not orders_nothing(name, queryset.query)
        ]

    setattr(OrderingFilter, "get_valid_fields", valid_fields)  # noqa: B010 - not ours


def _search_for_anything() -> None:
    """Have `?search=` find nothing in an index where its normal form is empty, as in the admin."""
    filter_queryset = SearchFilter.filter_queryset
    if hasattr(filter_queryset, "__wrapped__"):
        return

    @wraps(filter_queryset)
    def searched(self: Any, request: Any, queryset: Any, view: Any) -> Any:
        with finding_nothing():
            return filter_queryset(self, request, queryset, view)

    setattr(SearchFilter, "filter_queryset", searched)  # noqa: B010 - not ours


def _register_masking_fields() -> None:
    """Let `ModelSerializer` tell fields that mask from others, and show values of any type."""
    build = serializers.ModelSerializer.build_standard_field
    if hasattr(build, "__wrapped__"):
        return

    @wraps(build)
    def build_standard_field(self: Any, field_name: str, model_field: Any) -> Any:
        field_class: Any
        field_class, options = build(self, field_name, model_field)
        if not hasattr(model_field, "to_plaintext"):
            return field_class, options
        shows: Any = EncryptedModelField if field_class is serializers.ModelField else field_class
        unique = unique_values(model_field)
        validators = options.get("validators", ())
        plain = [each for each in validators if not isinstance(each, UniqueValidator)]
        if unique or len(plain) < len(validators):
            options["validators"] = [*plain, *unique]
        return (masking(shows) if model_field.masks else shows), options

    setattr(serializers.ModelSerializer, "build_standard_field", build_standard_field)  # noqa: B010


# -- Validators ------------------------------------------------------------------------------------


class UniqueValue(UniqueValidator):
    """Refuses a value that another row has, by its blind index."""

    def filter_queryset(self, value: Any, queryset: Any, field_name: str) -> Any:
        field: Any = queryset.model._meta.get_field(field_name)
        same = same_values(field, value)
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


def _register_validators() -> None:
    """Have `ModelSerializer` validate rows by their blind indexes, and not by their envelopes."""
    get_validators = serializers.ModelSerializer.get_unique_together_validators
    if hasattr(get_validators, "__wrapped__"):
        return

    @wraps(get_validators)
    def unique_together_validators(self: Any) -> list[Any]:
        plain = (each for each in get_validators(self) if not _names_encrypted(self, each))
        return [*plain, *_unique_rows(self)]

    setattr(  # noqa: B010 - not ours
        serializers.ModelSerializer, "get_unique_together_validators", unique_together_validators
    )


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
