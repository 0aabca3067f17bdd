"""Grants on the page of a key: handed out and taken away by `envelope_fields.grants`."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin.widgets import AdminSplitDateTime, AdminTextInputWidget
from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from envelope_fields.admin import rights
from envelope_fields.admin.words import all_in_words, in_words
from envelope_fields.conf import configuration
from envelope_fields.grants import LastGrant, grant, list_grants, revoke
from envelope_fields.grants.holders import named_group, named_user
from envelope_fields.models import KeyGrant, MasterKey
from envelope_fields.policy import Action

_USER, _GROUP = "user", "group"


def action_choices() -> list[tuple[str, str]]:
    """Return the actions that a grant can name."""
    return [(str(action), in_words(action)) for action in Action]


class GrantForm(forms.Form):
    """To whom, what, where, and until when."""

    kind = forms.ChoiceField(
        label=gettext_lazy("To"),
        choices=[(_USER, gettext_lazy("a user")), (_GROUP, gettext_lazy("the users of a group"))],
        initial=_USER,
        widget=forms.RadioSelect,
    )
    name = forms.CharField(
        label=gettext_lazy("Name"),
        widget=AdminTextInputWidget(attrs={"autocomplete": "off", "spellcheck": "false"}),
        help_text=gettext_lazy("The user name, or the name of the group."),
    )
    actions = forms.MultipleChoiceField(
        label=gettext_lazy("May"), choices=action_choices, widget=forms.CheckboxSelectMultiple
    )
    context = forms.CharField(
        label=gettext_lazy("Only for values of"),
        required=False,
        widget=AdminTextInputWidget(attrs={"autocomplete": "off", "spellcheck": "false"}),
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
                cleaned["to"] = _named(cleaned["kind"], cleaned["name"])
            except ValidationError as error:
                self.add_error("name", error)
        return cleaned


class RevokeForm(forms.Form):
    """Asks for the name of the key, where the last grant that manages grants would go."""

    override = forms.CharField(
        label=gettext_lazy("Name of the key"),
        required=False,
        widget=AdminTextInputWidget(attrs={"autocomplete": "off", "spellcheck": "false"}),
        help_text=gettext_lazy(
            "Only needed if nobody else can manage the grants of this key: then type its name."
        ),
    )


def listed_on(key: MasterKey) -> list[dict[str, Any]]:
    """Return the grants on a key as its page shows them."""
    words = {"expired": _("expired"), "gone": _("nobody"), "inactive": _("inactive")}
    return [
        {
            "grant": listed.grant,
            "holder": listed.name or f"{listed.grant.principal_type} {listed.grant.principal_id}",
            "kind": _kind(listed.grant),
            "actions": all_in_words(listed.grant.actions),
            "void": words.get(listed.void, listed.void),
        }
        for listed in list_grants(key)
    ]


def answer_grant(
    request: HttpRequest, key: MasterKey, back: str, context: dict[str, Any]
) -> HttpResponse:
    """Show the form of a new grant, or hand it out."""
    form = GrantForm(_posted(request))
    if form.is_valid():
        given = form.cleaned_data
        try:
            grant(
                key,
                given["to"],
                given["actions"],
                context=given["context"],
                expires_at=given["expires_at"],
                actor=request.user,
            )
        except ValidationError as error:
            form.add_error(None, error)
        else:
            return _changed(request, back)
    return _page(request, form, back, context, _("Grant rights on %(key)s") % {"key": key}, "")


def answer_revoke(
    request: HttpRequest, row: KeyGrant, back: str, context: dict[str, Any]
) -> HttpResponse:
    """Ask whether a grant is to go, or take it away."""
    form = RevokeForm(_posted(request))
    if form.is_valid():
        try:
            revoke(row, actor=request.user, override=form.cleaned_data["override"] or None)
        except LastGrant:
            form.add_error("override", _last_one(row))
        else:
            return _changed(request, back)
    title = _("Revoke a grant on %(key)s") % {"key": row.master_key}
    what = _what_goes(row) if rights.may_see_grants(request, row.master_key) else ""
    return _page(request, form, back, context, title, what)


def _what_goes(row: KeyGrant) -> str:
    return _("%(holder)s may no longer: %(actions)s.") % {
        "holder": next(
            (each["holder"] for each in listed_on(row.master_key) if each["grant"].pk == row.pk),
            row.principal_id,
        ),
        "actions": all_in_words(row.actions),
    }


def _last_one(row: KeyGrant) -> str:
    return _(
        "Nobody else can manage the grants of this key for as long. Grant that to another user "
        "first; or type %(name)s, and only the application can hand out rights on it."
    ) % {"name": row.master_key}


def found(key: MasterKey, number: int) -> KeyGrant | None:
    """Return a grant on a key."""
    rows = KeyGrant.objects.using(configuration().database).select_related("master_key")
    return rows.filter(master_key=key, pk=number).first()


def _changed(request: HttpRequest, back: str) -> HttpResponse:
    messages.success(request, _("The grants were changed."))
    return redirect(back)


def _page(
    request: HttpRequest, form: Any, back: str, context: dict[str, Any], title: str, what: str
) -> HttpResponse:
    return TemplateResponse(
        request,
        "admin/envelope_fields/masterkey/confirm.html",
        {
            **context,
            "title": title,
            "consequences": [what] if what else [],
            "can_be_done": True,
            "rows": [],
            "form": form,
            "back": back,
            "media": context["media"] + form.media,
        },
    )


def _posted(request: HttpRequest) -> Any:
    return request.POST if request.method == "POST" else None


def _named(kind: str, name: str) -> Any:
    row = named_group(name) if kind == _GROUP else named_user(name)
    if row is None:
        raise ValidationError(_("There is no user or group of this name."))
    return row


def _kind(row: KeyGrant) -> str:
    model = get_user_model()._meta.label_lower
    return _("user") if row.principal_type == model else _("group")
