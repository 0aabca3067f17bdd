"""An alias is given to a key: what names it is written under that key from then on."""

from __future__ import annotations

from django import forms
from django.contrib.admin.widgets import AdminTextInputWidget
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from envelope_fields import lifecycle
from envelope_fields.admin.acts.base import ActForm, ActPage, values_text, when_elsewhere
from envelope_fields.lifecycle import Act
from envelope_fields.models import MasterKey


class MoveAliasForm(ActForm):
    alias = forms.CharField(
        label=gettext_lazy("Alias"),
        max_length=200,
        validators=MasterKey._meta.get_field("alias").validators,
        widget=AdminTextInputWidget(attrs={"autocomplete": "off", "spellcheck": "false"}),
        help_text=gettext_lazy("A new one, or one that another key has."),
    )


class MoveAlias(ActPage):
    act = Act.MOVE_ALIAS
    button = gettext_lazy("Move alias")
    form_class = MoveAliasForm

    def consequences(self) -> list[str]:
        lines = [
            _("Fields that name the alias write under this key from now on."),
            _(
                "A key that has it now keeps none, and is named by its id. Its values stay "
                "readable."
            ),
            _("%(values)s under this key stay readable.") % {"values": values_text(self.values)},
        ]
        if self.key.alias:
            lines.append(
                _("Nobody has the alias %(alias)s then: fields that name it cannot write.")
                % {"alias": self.key.alias}
            )
        return [*lines, when_elsewhere()]

    def perform(self, form: ActForm) -> str:
        lifecycle.move_alias(form.cleaned_data["alias"], self.key, actor=self.actor)
        return _("The key has the alias %(alias)s now.") % {"alias": form.cleaned_data["alias"]}
