"""Grants on the page of a key: made and revoked by `envelope_fields.grants`."""

from typing import Any

from django import forms
from django.contrib.admin.widgets import AdminSplitDateTime
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _, gettext_lazy

from envelope_fields.admin.confirmation import ConfirmationForm, ConfirmationPage, text_input
from envelope_fields.admin.requests import may_view
from envelope_fields.grants import LastGrant, grant, list_grants, revoke
from envelope_fields.grants.grantees import named_grantee, stored_grants
from envelope_fields.lifecycle import Operation
from envelope_fields.lifecycle.representation import in_words
from envelope_fields.models import KeyGrant, MasterKey
from envelope_fields.policy import Action

_USER, _GROUP = "user", "group"


class GrantForm(ConfirmationForm):
    """To whom, what, where, and until when."""

    kind = forms.ChoiceField(
        label=gettext_lazy("To"),
        choices=[(_USER, gettext_lazy("a user")), (_GROUP, gettext_lazy("the users of a group"))],
        initial=_USER,
        widget=forms.RadioSelect,
    )
    name = forms.CharField(
        label=gettext_lazy("Name"),
        widget=text_input(),
        help_text=gettext_lazy("The user name, or the name of the group."),
    )
    actions = forms.MultipleChoiceField(
        label=gettext_lazy("May"), choices=Action.choices, widget=forms.CheckboxSelectMultiple
    )
    context = forms.CharField(
        label=gettext_lazy("Only for values of"),
        required=False,
        widget=text_input(),
        help_text=gettext_lazy(
            "app.model or app.model.field, for encrypt and decrypt. Empty: everywhere."
        ),
    )
    expires_at = forms.SplitDateTimeField(
        label=gettext_lazy("Until"),
        required=False,
        widget=AdminSplitDateTime,
        help_text=gettext_lazy("Empty: until it is revoked."),
    )

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        if "name" in cleaned and "kind" in cleaned:
            try:
                cleaned["to"] = named_grantee(cleaned["kind"], cleaned["name"])
            except ValidationError as error:
                self.add_error("name", error.messages)
        return cleaned


class RevokeForm(ConfirmationForm):
    """Asks for the name of the key, where the last grant that manages grants would go."""

    override = forms.CharField(
        label=gettext_lazy("Name of the key"),
        required=False,
        widget=text_input(),
        help_text=gettext_lazy(
            "Only needed if no other user can manage the grants of this key: then type its name."
        ),
    )


class Grant(ConfirmationPage):
    """The form of a new grant on a key."""

    operation = Operation.CREATE_GRANT
    form_class = GrantForm

    @property
    def title(self) -> str:
        return _("Grant rights on %(key)s") % {"key": self.row}

    def etag(self) -> str:
        return ""  # two grants at once do not contradict each other

    def consequences(self) -> list[str]:
        return []

    def perform(self) -> str:
        given = self.form.cleaned_data
        grant(
            self.row,
            given["to"],
            given["actions"],
            context=given["context"],
            expires_at=given["expires_at"],
            actor=self.actor,
        )
        return _("The grants were changed.")


class Revoke(ConfirmationPage):
    """Asks whether a grant is to be revoked."""

    operation = Operation.REVOKE_GRANT
    form_class = RevokeForm

    @property
    def key(self) -> MasterKey:
        key: MasterKey = self.row.master_key
        return key

    @property
    def title(self) -> str:
        return _("Revoke a grant on %(key)s") % {"key": self.key}

    def etag(self) -> str:
        return ""

    def consequences(self) -> list[str]:
        if not may_view(self.request, "keygrant", self.key):
            return []
        grantee = next(
            (each["grantee"] for each in listed_on(self.key) if each["grant"].pk == self.row.pk),
            self.row.principal_id,
        )
        what = {"grantee": grantee, "actions": _all_in_words(self.row.actions)}
        return [_("%(grantee)s may no longer: %(actions)s.") % what]

    def perform(self) -> str:
        override = self.form.cleaned_data["override"] or None
        try:
            revoke(self.row, actor=self.actor, override=override)
        except LastGrant:
            raise ValidationError({"override": self._last_one()}) from None
        return _("The grants were changed.")

    def _last_one(self) -> str:
        return _(
            "No other user can manage the grants of this key for as long. Grant that to another "
            "user first; or type %(name)s, and only the application can grant rights on it."
        ) % {"name": self.key}


def listed_on(key: MasterKey) -> list[dict[str, Any]]:
    """Return the grants on a key as its page shows them."""
    words = {"expired": _("expired"), "gone": _("deleted"), "inactive": _("inactive")}
    return [
        {
            "grant": listed.grant,
            "grantee": listed.name or f"{listed.grant.principal_type} {listed.grant.principal_id}",
            "kind": _kind(listed.grant),
            "actions": _all_in_words(listed.grant.actions),
            "void": words.get(listed.void, listed.void),
        }
        for listed in list_grants(key)
    ]


def found(key: MasterKey, number: int) -> KeyGrant | None:
    """Return a grant on a key."""
    return stored_grants().filter(master_key=key, pk=number).first()


def _all_in_words(actions: list[str]) -> str:
    return ", ".join(map(in_words, actions))


def _kind(row: KeyGrant) -> str:
    model = get_user_model()._meta.label_lower
    return _("user") if row.principal_type == model else _("group")
