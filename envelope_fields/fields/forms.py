"""Form fields of encrypted fields: disabled where dots are all that they show."""

from functools import cache
from typing import Any

from django import forms
from django.forms.models import BaseModelForm
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_variables

from envelope_fields.fields.masks import Mask, Unopened, is_dots, is_shown
from envelope_fields.fields.patches import extend
from envelope_fields.fields.sealed import encrypted_fields

DOTS_ARE_NO_VALUE = _("These dots stand for a value that you may not read.")
_NOT_SAVED = _("This was not saved, because the stored value cannot be opened now. Keep a copy.")
_NOT_COPIED = _("This value could not be copied, because you cannot see it. Enter it anew.")

_SAVE_AS_NEW = "_saveasnew"  # as the admin names its button for a copy

_TEXTUAL = ("text", "email", "url", "search", "tel")


def disabled_for_masks(form_field: Any, field: Any) -> Any:
    """Return a form field that does the same, and is disabled where no value can be shown.

    What is not posted for it leaves the value of an object alone: it may have been disabled.
    """
    form_class: Any = type(form_field)
    if not issubclass(form_class, _MaskingFormField):
        form_field.__class__ = _masking(form_class, field.masks)
    return form_field


def register() -> None:
    """Have model forms know of masks in the fields that they declare themselves."""
    extend(BaseModelForm, "__init__", _knowing_masks)


def _knowing_masks(original: Any) -> Any:
    @sensitive_variables()
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        for field in encrypted_fields(self._meta.model):
            declared = self.fields.get(field.name)
            is_masked = field.masks or isinstance(self.initial.get(field.name), Mask)
            # One of files takes nothing for what is there, and shows no value.
            if is_masked and declared is not None and not isinstance(declared, forms.FileField):
                disabled_for_masks(declared, field)

    return __init__


class _PostedWidget(forms.Widget):
    """A widget that posts something when nothing is chosen, and nothing when it is disabled.

    Otherwise, one that was disabled could not be told from one that a user has cleared.
    """

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        shown = super().render(name, value, attrs, renderer)
        if self.build_attrs(self.attrs, attrs).get("disabled"):
            return shown
        return format_html('<input type="hidden" name="{}" value="">{}', name, shown)

    def value_from_datadict(self, data: Any, files: Any, name: str) -> Any:
        posted = data.getlist(name) if hasattr(data, "getlist") else [data.get(name)]
        # A widget of a project's own may take whatever is posted for yes.
        value = super().value_from_datadict({} if posted == [""] else data, files, name)
        return [each for each in value if each != ""] if isinstance(value, list) else value

    def value_omitted_from_data(self, data: Any, files: Any, name: str) -> bool:
        return name not in data


# Those that post nothing when nothing is chosen.
_SILENT = (forms.CheckboxInput, forms.SelectMultiple, forms.CheckboxSelectMultiple)


@cache
def _posted(widget_class: Any) -> Any:
    """Return a widget class that does the same, and always posts something."""
    return type(f"Posted{widget_class.__name__}", (_PostedWidget, widget_class), {})


class _MaskingFormField(forms.Field):
    """A form field that is disabled for a mask, whatever is posted for it.

    Attributes:
        masks: whether the model field masks.
        refusal: why what is posted, or is not, cannot be taken; else empty.
        stays: whether the value of the object is left as it is.
    """

    masks: bool
    refusal: Any = ""
    stays: bool = False

    def get_bound_field(self, form: Any, field_name: str) -> forms.BoundField:
        # Each form has fields of its own, and their widgets, so this is for one object.
        widget_class: Any = type(self.widget)
        if issubclass(widget_class, _SILENT) and not issubclass(widget_class, _PostedWidget):
            self.widget.__class__ = _posted(widget_class)
        held = getattr(getattr(form, "instance", None), field_name, None)
        if isinstance(held, Mask):
            form.initial[field_name] = held
        initial = form.get_initial_for_field(self, field_name)
        is_masked = isinstance(initial, Mask)
        if form.is_bound and isinstance(initial, Unopened) and not self._is_kept(form, field_name):
            self.refusal = _NOT_SAVED
        if is_masked or self._was_masked(form, field_name):
            self.disabled = self.stays = True
        if is_masked and not _shows_text(self.widget):
            self.widget = forms.TextInput(self.widget.attrs)
        return super().get_bound_field(form, field_name)

    def _was_masked(self, form: Any, field_name: str) -> bool:
        """Whether a user filled a form that showed dots, and may read the value by now.

        A browser posts nothing for a field that is disabled, and that does not mean no value.
        """
        instance = getattr(form, "instance", None)
        if not form.is_bound or instance is None or not self._is_kept(form, field_name):
            return False
        if not instance._state.adding:
            # One that a form declares itself may have shown them, and never been disabled.
            is_own = field_name in getattr(form, "declared_fields", ())
            return not is_own or self._is_omitted(form, field_name)
        if _SAVE_AS_NEW in form.data:
            self.refusal = _NOT_COPIED  # where the field was disabled in the form of the original
        return False

    def _is_kept(self, form: Any, field_name: str) -> bool:
        """Whether a form posts nothing for the field, or what was shown for its value."""
        if self._is_omitted(form, field_name):
            return True
        name = form.add_prefix(field_name)
        posted = self.widget.value_from_datadict(form.data, form.files, name)
        return is_shown(self.masks, posted)

    def _is_omitted(self, form: Any, field_name: str) -> bool:
        name = form.add_prefix(field_name)
        return bool(self.widget.value_omitted_from_data(form.data, form.files, name))

    def clean(self, value: Any) -> Any:
        if self.refusal:
            raise forms.ValidationError(self.refusal)
        if self.stays or isinstance(value, Mask):
            return value
        if self.masks and is_dots(value):
            raise forms.ValidationError(DOTS_ARE_NO_VALUE)
        return super().clean(value)

    def has_changed(self, initial: Any, data: Any) -> bool:
        # Django's field for JSON forgets that it is disabled.
        is_left = self.disabled or isinstance(initial, Mask)
        return not is_left and super().has_changed(initial, data)

    def bound_data(self, data: Any, initial: Any) -> Any:
        # What was written is shown again: nothing else has it.
        return data if self.refusal and data else super().bound_data(data, initial)

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
