"""Crypto-shredding: a key goes together with its values, in two steps.

First it is disabled, until every process knows. Then the values are counted and the key is
destroyed; whoever confirms agrees to the number that the page showed, and to no more.
"""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.formats import date_format
from django.utils.timezone import template_localtime  # type: ignore[attr-defined]  # not in the stubs
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from envelope_fields import lifecycle
from envelope_fields.admin.acts.base import ActForm, ActPage, name_of, values_text
from envelope_fields.admin.acts.deletion import kms_text
from envelope_fields.admin.acts.forms import TypedNameForm
from envelope_fields.audit.uses import last_use_by_kms
from envelope_fields.databases import clock
from envelope_fields.lifecycle import Act
from envelope_fields.lifecycle.certificates import Place, ShredConfirmation, counted_places


class ShredForm(TypedNameForm):
    """The name of the key, and the numbers that were shown beside it."""

    places = forms.JSONField(widget=forms.HiddenInput, required=False)  # there may be none

    def clean_places(self) -> tuple[Place, ...]:
        try:
            return tuple(
                Place(str(database), str(model), str(field), int(values))
                for database, model, field, values in self.cleaned_data["places"]
            )
        except (TypeError, ValueError):
            raise forms.ValidationError(_("Reload this page.")) from None


class Shred(ActPage):
    act = Act.SHRED
    button = gettext_lazy("Shred")
    is_grave = True
    form_class = ShredForm

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.ready_at = lifecycle.ready_to_shred_at(self.row)

    @property
    def is_ready(self) -> bool:
        return self.ready_at is not None and self.ready_at <= clock.now()

    def initial(self) -> dict[str, Any]:
        return {"places": [list(place) for place in counted_places(self.rows or [])]}

    def consequences(self) -> list[str]:
        return [
            _("It is destroyed permanently, together with: %(values)s.")
            % {"values": values_text(self.values)},
            kms_text(last_use_by_kms(self.row)),
            _(
                "Backups remain: the values can be read until the last backup of the wrapped key "
                "is gone, or its root key."
            ),
            self._step(),
        ]

    def perform(self, form: ActForm) -> str:
        agreed = ShredConfirmation(form.cleaned_data["confirm"], form.cleaned_data["places"])
        if self.is_ready:
            certificate = lifecycle.finish_shredding(self.row, confirm=agreed, actor=self.actor)
            return _(
                "%(what)s is destroyed, together with %(values)s. The certificate is event "
                "%(event)d of the audit trail."
            ) % {
                "what": certificate.name,
                "values": values_text(certificate.total),
                "event": certificate.event,
            }
        ready = lifecycle.begin_shredding(self.row, confirm=agreed, actor=self.actor)
        return _("%(what)s is disabled. Destroy it from %(time)s on, on the same page.") % {
            "what": name_of(self.row),
            "time": _time(ready),
        }

    def _step(self) -> str:
        if self.is_ready:
            return _("Step 2 of 2: it has been disabled long enough, and is destroyed now.")
        if self.ready_at is not None:
            return _(
                "Step 2 of 2: from %(time)s on, no process can write under it any more; destroy "
                "it then."
            ) % {"time": _time(self.ready_at)}
        return _(
            "Step 1 of 2: it is disabled, and can be enabled again. Destroying it is the next "
            "step, as soon as every process knows."
        )


def _time(moment: Any) -> str:
    time_format = "TIME_FORMAT" if moment.second == 0 else "H:i:s"
    return date_format(template_localtime(moment), time_format)
