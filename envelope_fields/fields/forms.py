"""Form fields of encrypted fields: disabled where dots are all that they show."""

from functools import cache
from typing import Any

from django import forms
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from envelope_fields.fields.masks import Mask, is_dots, is_shown

DOTS_ARE_NO_VALUE = _("These dots stand for a value that you may not read.")

_TEXTUAL = ("text", "email", "url", "search", "tel")


def disabled_for_masks(form_field: Any, field: Any) -> Any:
    """Return a form field that does the same, and is disabled where no value can be shown.

    What is not posted for it leaves the value of an object alone: it may have been disabled.
    """
    form_class: Any = type(form_field)
    if not issubclass(form_class, _MaskingFormField):
        form_field.__class__ = _masking(form_class, field.masks)
    if type(form_field.widget) is forms.CheckboxInput:
        form_field.widget.__class__ = _PostedCheckbox
    return form_field


class _PostedCheckbox(forms.CheckboxInput):
    """A checkbox that posts something when it is not checked, and nothing when it is disabled.

    Otherwise, one that was disabled could not be told from one that a user has cleared.
    """

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        box = super().render(name, value, attrs, renderer)
        if self.build_attrs(self.attrs, attrs).get("disabled"):
            return box
        return format_html('<input type="hidden" name="{}" value="">{}', name, box)

    def value_omitted_from_data(self, data: Any, files: Any, name: str) -> bool:
        return name not in data


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
        is_masked = isinstance(form.get_initial_for_field(self, field_name), Mask)
        if is_masked or self._was_masked(form, field_name):
            self.disabled = True
        if is_masked and not _shows_text(self.widget):
            self.widget = forms.TextInput(self.widget.attrs)
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
        return is_shown(self.masks, self.widget.value_from_datadict(form.data, form.files, name))

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


def _shows_text(widget: Any) -> bool:
    """Whether a widget shows any text that it is given, such as dots."""
    if isinstance(widget, forms.widgets.Input):
        return widget.input_type in _TEXTUAL
    return not isinstance(widget, forms.MultiWidget | forms.widgets.ChoiceWidget)
