"""Deletion with a waiting period, and its cancellation."""

from __future__ import annotations

from datetime import datetime
from functools import cached_property
from typing import Any

from django import forms
from django.contrib.admin.widgets import AdminIntegerFieldWidget
from django.utils.formats import date_format
from django.utils.timezone import template_localtime  # type: ignore[attr-defined]  # not in the stubs
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from envelope_fields import lifecycle
from envelope_fields.admin.acts.base import (
    ActForm,
    ActPage,
    name_of,
    values_text,
    when_elsewhere,
)
from envelope_fields.admin.acts.forms import TypedNameForm
from envelope_fields.audit.uses import last_use, last_use_by_kms
from envelope_fields.lifecycle import Act
from envelope_fields.lifecycle.confirmation import as_utc
from envelope_fields.lifecycle.deletion import LONGEST_WAIT, SHORTEST_WAIT
from envelope_fields.lifecycle.witnesses import Witnesses, unseen_places, witnesses_of


class ScheduleDeletionForm(TypedNameForm):
    """How long to wait; a confirmation is asked for where something is lost that no count sees."""

    days = forms.IntegerField(
        label=gettext_lazy("Waiting period in days"),
        min_value=SHORTEST_WAIT,
        max_value=LONGEST_WAIT,
        initial=LONGEST_WAIT,
        widget=AdminIntegerFieldWidget,
        help_text=gettext_lazy("7 to 30. Until then, the deletion can be cancelled."),
    )
    field_order = ("days", "confirm")

    def __init__(self, *args: Any, witnesses: Witnesses, **kwargs: Any) -> None:
        self.witnesses = witnesses
        super().__init__(*args, **kwargs)
        self.fields["confirm"].label = _("Name of the key, and its last use")
        if not list(witnesses.reasons()):
            del self.fields["confirm"]

    def confirmation(self) -> str:
        return self.witnesses.expected


class ScheduleDeletion(ActPage):
    act = Act.SCHEDULE_DELETION
    button = gettext_lazy("Schedule deletion")
    is_grave = True
    form_class = ScheduleDeletionForm

    @property
    def can_be_done(self) -> bool:
        return self.values == 0

    @cached_property
    def witnesses(self) -> Witnesses:
        return witnesses_of(self.row, unseen_places())

    def form(self, *args: Any, **kwargs: Any) -> ActForm:
        return super().form(*args, witnesses=self.witnesses, **kwargs)

    def consequences(self) -> list[str]:
        if not self.can_be_done:
            return [
                _("%(values)s would be lost, so this is refused while there is one.")
                % {"values": values_text(self.values)},
                _("Move them to another key first, or shred the key together with its values."),
            ]
        return [
            _("No stored value is under it: every encrypted column was counted just now."),
            _("It becomes unusable now, and is destroyed for good when the waiting period ends."),
            use_text(last_use(self.row)),
            kms_text(last_use_by_kms(self.row)),
            *uncounted_texts(self.witnesses),
            _("Backups are not counted: what is only in a backup can never be read again."),
            when_elsewhere(),
        ]

    def perform(self, form: ActForm) -> str:
        at = lifecycle.schedule_deletion(
            self.row,
            form.cleaned_data["days"],
            confirm=form.cleaned_data.get("confirm"),
            actor=self.actor,
        )
        return _("%(what)s is unusable now, and will be destroyed on %(day)s.") % {
            "what": name_of(self.row),
            "day": date_format(template_localtime(at), "DATE_FORMAT"),
        }


class CancelDeletion(ActPage):
    act = Act.CANCEL_DELETION
    button = gettext_lazy("Cancel deletion")

    def consequences(self) -> list[str]:
        return [
            _("It will not be destroyed."),
            _("It stays disabled until it is enabled again."),
        ]

    def perform(self, form: ActForm) -> str:
        lifecycle.cancel_deletion(self.row, actor=self.actor)
        return _("The deletion of %(what)s is cancelled. It is disabled.") % {
            "what": name_of(self.row)
        }


def use_text(last_use: datetime | None) -> str:
    """Say when it was last used."""
    if last_use is None:
        return _("It has never been used.")
    return _("It was last used on %(time)s.") % {"time": as_utc(last_use)}


def kms_text(last_use: datetime | None) -> str:
    """Say what no census can count."""
    if last_use is None:
        return _("The operations of envelope_fields.kms have never been used under it.")
    return _(
        "envelope_fields.kms gave out data under it, last on %(time)s. No census counts that, and "
        "none of it can be decrypted any more."
    ) % {"time": as_utc(last_use)}


def uncounted_texts(witnesses: Witnesses) -> list[str]:
    """Name copies as text, and what was not counted."""
    copies = [
        _("Copies as text, which nobody can decrypt any more: %(place)s.") % {"place": each}
        for each in witnesses.copies
    ]
    return copies + [_("Not counted: %(place)s.") % {"place": each} for each in witnesses.unseen]
