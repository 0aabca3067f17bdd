"""Django REST framework: masks are dots in answers, and what is posted for them is ignored.

Nothing is ordered by encrypted columns.

Imported only where the project has installed it.
"""

from functools import cache, wraps
from typing import Any

from django.db.models import Model
from django.utils.encoding import is_protected_type
from rest_framework import serializers
from rest_framework.fields import SkipField
from rest_framework.filters import OrderingFilter
from rest_framework.validators import UniqueValidator

from envelope_fields.exceptions import EnvelopeError
from envelope_fields.fields import serializer_validators
from envelope_fields.fields.columns import is_ordered_by_envelopes
from envelope_fields.fields.forms import DOTS_ARE_NO_VALUE
from envelope_fields.fields.index import BlindIndexField
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
    """Let `ModelSerializer` know encrypted fields, and leave indexes out; and `OrderingFilter`."""
    _register_masking_fields()
    _leave_out_indexes()
    _leave_out_of_ordering()
    serializer_validators.register()


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
            if not is_ordered_by_envelopes(name, queryset.query)
        ]

    setattr(OrderingFilter, "get_valid_fields", valid_fields)  # noqa: B010 - not ours


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
        unique = serializer_validators.unique_values(model_field)
        validators = options.get("validators", ())
        plain = [each for each in validators if not isinstance(each, UniqueValidator)]
        if unique or len(plain) < len(validators):
            options["validators"] = [*plain, *unique]
        return (masking(shows) if model_field.masks else shows), options

    setattr(serializers.ModelSerializer, "build_standard_field", build_standard_field)  # noqa: B010
