"""Django REST framework: masks are dots in answers, and what is posted for them is ignored.

Nothing is ordered by encrypted columns.

Imported only where the project has installed it.
"""

from functools import partial, wraps
from typing import Any

from django.db.models import Model
from rest_framework import serializers
from rest_framework.fields import SkipField
from rest_framework.filters import OrderingFilter

from envelope_fields.exceptions import EnvelopeError
from envelope_fields.fields.columns import is_ordered_by_envelopes
from envelope_fields.fields.json import EncryptedJSONField
from envelope_fields.fields.masks import Mask, is_dots, shown
from envelope_fields.fields.text import EncryptedTextField
from envelope_fields.fields.validation import DOTS_ARE_NO_VALUE


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


def register() -> None:
    """Let `ModelSerializer` know fields that mask, and `OrderingFilter` encrypted ones."""
    _register_masking_fields()
    _leave_out_of_ordering()


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
    """Let `ModelSerializer` tell fields that mask from others, which it treats as it did."""
    mapping: dict[Any, Any] = serializers.ModelSerializer.serializer_field_mapping
    kinds: tuple[tuple[Any, Any], ...] = (
        (EncryptedTextField, MaskingCharField),
        (EncryptedJSONField, MaskingJSONField),
    )
    for model_field, field in kinds:
        of_masks = type(f"Masking{model_field.__name__}", (model_field,), {})
        mapping[of_masks] = field
        # What the framework asks for before the class of a field, such as of a lazy one.
        model_field._proxy_class = property(partial(_class_if_it_masks, of_masks))


def _class_if_it_masks(of_masks: type, field: Any) -> type:
    if field.masks:
        return of_masks
    raise AttributeError("_proxy_class")
