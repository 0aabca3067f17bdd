"""Fields of confirmation forms that several acts ask for."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.admin.widgets import AdminTextInputWidget
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from envelope_fields.admin.acts.base import ActForm
from envelope_fields.lifecycle.confirmation import name_of as confirmed_by


class TypedNameForm(ActForm):
    """Asks for the name of the key, so that nobody means another one."""

    confirm = forms.CharField(
        label=gettext_lazy("Name of the key"),
        widget=AdminTextInputWidget(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.expected = self.confirmation()
        self.fields["confirm"].help_text = _("Type %(name)s to confirm.") % {"name": self.expected}

    def confirmation(self) -> str:
        """Return what is to be typed."""
        return confirmed_by(self.row)

    def clean_confirm(self) -> str:
        typed: str = self.cleaned_data["confirm"]
        if typed != self.expected:
            raise forms.ValidationError(
                _("This is not the name of the key. Type %(name)s to go on, or go back.")
                % {"name": self.expected}
            )
        return typed
