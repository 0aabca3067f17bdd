"""Django REST framework: masks are dots in answers, and what is posted for them is ignored.

Nothing is ordered by encrypted columns. That rows are unique by their blind indexes is validated in
`fields/index/rest_framework`.

Imported only where the project has installed it.
"""

from functools import cache
from typing import Any

from django.core.validators import EMPTY_VALUES
from django.db.models import Model
from django.utils.encoding import is_protected_type
from rest_framework import serializers
from rest_framework.fields import SkipField
from rest_framework.filters import OrderingFilter
from rest_framework.utils.html import is_html_input
from rest_framework.validators import UniqueValidator

from envelope_fields.exceptions import EnvelopeError
from envelope_fields.fields.columns import orders_nothing
from envelope_fields.fields.forms import DOTS_ARE_NO_VALUE
from envelope_fields.fields.index import rest_framework as index_validators
from envelope_fields.fields.masks import Mask, is_dots, is_shown, shown
from envelope_fields.fields.patches import extend
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


def _is_masked(instance: Any, name: Any) -> bool:
    try:
        return isinstance(getattr(instance, name, None), Mask)
    except EnvelopeError:  # it does not open for anyone, and may be replaced
        return False


class EncryptedSerializerMixin(serializers.Serializer):  # type: ignore[type-arg]
    """Shows the words "cannot be opened" where a value cannot be, instead of failing.

    Put it before the class of a serializer, and of each nested one; those that `depth` makes have
    it. Users who may view the key see the cause. The words are not input, and what a form posts in
    their place is ignored. Masks are dots in any field, also in one that you declare yourself.
    """

    def build_nested_field(self, *args: Any) -> Any:
        made, options = super().build_nested_field(*args)  # type: ignore[misc]  # of a ModelSerializer
        if not issubclass(made, EncryptedSerializerMixin):
            made = type(made.__name__, (EncryptedSerializerMixin, made), {})
        return made, options

    def to_representation(self, instance: Any) -> Any:
        if not isinstance(instance, Model):
            return super().to_representation(instance)
        with shown(instance):
            return super().to_representation(instance)

    @property
    def _readable_fields(self) -> Any:
        return map(_ShowingField, super()._readable_fields)

    @property
    def _writable_fields(self) -> Any:
        fields, row = super()._writable_fields, self.instance
        data = getattr(self, "initial_data", None)
        if not isinstance(row, Model) or not is_html_input(data):
            return fields
        with shown(row):
            return [
                each
                for each in fields
                if not (_is_masked(row, each.source) and _posts_nothing_new(each, data))
            ]


def _posts_nothing_new(field: Any, data: Any) -> bool:
    """Whether a form posts for a field what was shown, or what it does where no words can be.

    A box or a choice posts some value for them, and a date or a number nothing.
    """
    if isinstance(field, serializers.BooleanField | serializers.ChoiceField):
        return True
    posted = field.get_value(data)
    return posted in (serializers.empty, *EMPTY_VALUES) or is_shown(True, posted)


class _ShowingField:
    """A field of a serializer that makes text of a mask, and what it would of anything else."""

    def __init__(self, field: Any) -> None:
        self._field = field

    def __getattr__(self, name: str) -> Any:
        return getattr(self._field, name)

    def to_representation(self, value: Any) -> Any:
        made = value if isinstance(value, Mask) else self._field.to_representation(value)
        return str(made) if isinstance(made, Mask) else made


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
    extend(serializers.ModelSerializer, "build_standard_field", _showing_values)
    index_validators.register()
    extend(OrderingFilter, "get_valid_fields", _without_envelopes)


def _without_envelopes(get_valid_fields: Any) -> Any:
    """Have `?ordering=` ignore encrypted columns, as it does what is not a column."""

    def valid_fields(self: Any, queryset: Any, *args: Any, **kwargs: Any) -> list[Any]:
        return [
            (name, label)
            for name, label in get_valid_fields(self, queryset, *args, **kwargs)
            if not orders_nothing(name, queryset.query)
        ]

    return valid_fields


def _showing_values(build_standard_field: Any) -> Any:
    """Let `ModelSerializer` tell fields that mask from others, and show values of any type."""

    def standard_field(self: Any, field_name: str, model_field: Any) -> Any:
        field_class: Any
        field_class, options = build_standard_field(self, field_name, model_field)
        if not hasattr(model_field, "to_plaintext"):
            return field_class, options
        shows: Any = EncryptedModelField if field_class is serializers.ModelField else field_class
        unique = index_validators.unique_values(model_field)
        validators = options.get("validators", ())
        plain = [each for each in validators if not isinstance(each, UniqueValidator)]
        if unique or len(plain) < len(validators):
            options["validators"] = [*plain, *unique]
        return (masking(shows) if model_field.masks else shows), options

    return standard_field
