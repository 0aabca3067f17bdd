"""Fields that show dots where the principal may not read, instead of raising (`on_denied=`)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import FieldError, ImproperlyConfigured
from django.db.models import Field, Model

from envelope_fields.exceptions import EnvelopeError
from envelope_fields.fields.masks import Mask, is_dots, is_unopened
from envelope_fields.fields.sealed import SealedValue
from envelope_fields.fields.stand_ins import DOTS_ARE_NO_VALUE

if TYPE_CHECKING:
    _Field = Field[Any, Any]
else:
    _Field = object  # the field class comes after the mixin

RAISE, MASK = "raise", "mask"
ON_DENIED = (RAISE, MASK)


class MaskingMixin(_Field):
    """What `on_denied=` adds to an encrypted field."""

    on_denied: str

    @property
    def masks(self) -> bool:
        """Whether a value that may not be read is a mask instead of an error."""
        return self.on_denied == MASK

    def is_mask(self, value: Any) -> bool:
        """Whether a value is the mask of one."""
        return isinstance(value, Mask)

    def is_shown_for(self, value: Any, held: SealedValue) -> bool:
        """Whether a value is what was shown in the place of the one that an object holds."""
        if isinstance(value, Mask):
            same = value.sealed.field == held.field and value.sealed.envelope == held.envelope
            return bool(same)
        # Forms, serializers and imports send back what they were shown.
        return ((self.masks and is_dots(value)) or is_unopened(value)) and not _opens(held)

    def unmasked(self, value: Any) -> Any:
        """Return what an object holds when a value is assigned: for a mask, what it masks."""
        return value.sealed if isinstance(value, Mask) else value

    def deconstruct(self) -> tuple[str, str, Sequence[Any], dict[str, Any]]:
        name, path, args, kwargs = super().deconstruct()
        if self.on_denied != RAISE:
            kwargs["on_denied"] = self.on_denied
        return name, path, args, kwargs

    def clean(self, value: Any, model_instance: Model | None) -> Any:
        return value if isinstance(value, Mask) else super().clean(value, model_instance)

    def formfield(self, *args: Any, **kwargs: Any) -> Any:
        made = super().formfield(*args, **kwargs)
        return disabled_for_masks(made, self) if made is not None and self.masks else made


def _opens(held: SealedValue) -> bool:
    """Whether a value opens for the principal who is bound to this code."""
    try:
        return not isinstance(held.open(), Mask)
    except (EnvelopeError, ImproperlyConfigured):
        return False


def disabled_for_masks(form_field: Any, field: Any) -> Any:
    """Return a form field that does the same, and is disabled where no value can be shown.

    What is not posted for it leaves the value of an object alone: it may have been disabled.
    """
    form_class: Any = type(form_field)
    if not issubclass(form_class, _MaskingFormField):
        form_field.__class__ = _masking(form_class, field.masks)
    return form_field


def refuse_mask(field: Any, value: Any) -> None:
    """Raise if a value is a mask, where a value is needed.

    Raises:
        FieldError: it is one.
    """
    if isinstance(value, Mask):
        raise FieldError(
            f"{field}: the value is masked, because you may not read it. It stays where it is, and "
            "cannot be written or dumped."
        )


class _MaskingFormField(forms.Field):
    """A form field that is disabled for a mask, whatever is posted for it.

    Attributes:
        masks: whether the model field masks.
    """

    masks: bool

    def get_bound_field(self, form: Any, field_name: str) -> forms.BoundField:
        # Each form has fields of its own, so this is for one object.
        held = getattr(getattr(form, "instance", None), field_name, None)
        if isinstance(held, Mask):
            form.initial[field_name] = held
        if isinstance(form.get_initial_for_field(self, field_name), Mask) or (
            self._was_masked(form, field_name)
        ):
            self.disabled = True
        return super().get_bound_field(form, field_name)

    def _was_masked(self, form: Any, field_name: str) -> bool:
        """Whether a user filled a form that showed dots, and may read the value by now.

        A browser posts nothing for a field that is disabled, and that does not mean no value.
        """
        instance, name = getattr(form, "instance", None), form.add_prefix(field_name)
        if not form.is_bound or instance is None or instance._state.adding:
            return False
        if self.widget.value_omitted_from_data(form.data, form.files, name):
            return True
        return self._is_shown(self.widget.value_from_datadict(form.data, form.files, name))

    def _is_shown(self, value: Any) -> bool:
        return (self.masks and is_dots(value)) or is_unopened(value)

    def clean(self, value: Any) -> Any:
        if isinstance(value, Mask):
            return value
        if self.masks and is_dots(value):
            raise forms.ValidationError(DOTS_ARE_NO_VALUE)
        return super().clean(value)

    def has_changed(self, initial: Any, data: Any) -> bool:
        # Django's field for JSON forgets that it is disabled.
        is_left = self.disabled or isinstance(initial, Mask)
        return not is_left and super().has_changed(initial, data)

    def prepare_value(self, value: Any) -> Any:
        return str(value) if isinstance(value, Mask) else super().prepare_value(value)


@cache
def _masking(form_class: Any, masks: bool) -> Any:
    """Return a form field class that does the same, and disables itself for masks."""
    bases = (_MaskingFormField, form_class)
    return type(f"Masking{form_class.__name__}", bases, {"masks": masks})
