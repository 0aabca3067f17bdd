"""Operations on keys and their versions, as they are confirmed.

A key ends by deletion, after a waiting period, or by shredding, together with its values. That
takes two steps. First the key is disabled, until every process knows. Then the values are counted
and the key is destroyed; a user who confirms agrees to the number that the page showed, and to no
more.
"""

from datetime import datetime
from functools import cached_property
from typing import Any

from django import forms
from django.utils.formats import date_format
from django.utils.timezone import template_localtime  # type: ignore[attr-defined]  # not in the stubs
from django.utils.translation import gettext as _, gettext_lazy

from envelope_fields import databases, lifecycle
from envelope_fields.admin.confirmation import ConfirmationForm, KeyConfirmation, text_input
from envelope_fields.admin.counts import values_text
from envelope_fields.audit.uses import last_use, last_use_by_kms
from envelope_fields.lifecycle import Operation, certificates
from envelope_fields.lifecycle.parameters import CONFIRM
from envelope_fields.lifecycle.representation import as_utc
from envelope_fields.lifecycle.witnesses import Witnesses, uncounted_now, witnesses_of
from envelope_fields.models import MasterKey, MasterKeyVersion


class Rotate(KeyConfirmation):
    operation = Operation.ROTATE

    def consequences(self) -> list[str]:
        newest = self.row.versions.using(self.row._state.db).latest("number")
        return [
            _(
                "Version %(number)d is made and becomes current: from now on, values are written "
                "under it."
            )
            % {"number": newest.number + 1},
            self.of_values(_("%(values)s stay where they are, and are read as before.")),
            _(
                "If a version has leaked, this is not enough: its values have to be "
                "re-encrypted, and the version disabled."
            ),
        ]

    def message(self, result: MasterKeyVersion) -> str:
        text = _("%(key)s was rotated: version %(number)d is current.")
        if result.opened_at is None:
            text = _(
                "%(key)s has version %(number)d, which this process may not open. It becomes "
                "current when one that may runs: python manage.py open_master_key_versions"
            )
        return text % {"key": self.row, "number": result.number}


class Enable(KeyConfirmation):
    operation = Operation.ENABLE

    def consequences(self) -> list[str]:
        return [self.of_values(_("%(values)s can be read again.")), self.when_it_holds()]


class Disable(KeyConfirmation):
    operation = Operation.DISABLE

    def consequences(self) -> list[str]:
        lines = [self.of_values(_("%(values)s cannot be read until it is enabled again."))]
        if isinstance(self.row, MasterKey):
            lines.append(_("Nothing can be written under it: forms that try to will fail."))
        return [*lines, self.when_it_holds()]


class MoveAlias(KeyConfirmation):
    """What names the alias is written under this key from then on."""

    operation = Operation.MOVE_ALIAS

    def consequences(self) -> list[str]:
        lines = [
            _("Fields that name the alias write under this key from now on."),
            _(
                "A key that has it now keeps none, and is named by its id. Its values stay "
                "readable."
            ),
            self.of_values(_("%(values)s under this key stay readable.")),
        ]
        if self.row.alias:
            text = _("No key has the alias %(alias)s then: fields that name it cannot write.")
            lines.append(text % {"alias": self.row.alias})
        return [*lines, self.when_it_holds()]

    def message(self, result: None) -> str:
        alias = self.form.cleaned_data["alias"]
        return _("The key has the alias %(alias)s now.") % {"alias": alias}


class TypedNameForm(ConfirmationForm):
    """Asks for the name of the key, so that no other key is meant."""

    confirm = forms.CharField(label=gettext_lazy("Name of the key"), widget=text_input())

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.expected = self.confirmation()
        self.fields["confirm"].help_text = _("Type %(name)s to confirm.") % {"name": self.expected}

    def confirmation(self) -> str:
        """Return what is to be typed."""
        return certificates.name_of(self.page.row)

    def clean_confirm(self) -> str:
        typed: str = self.cleaned_data["confirm"]
        if typed != self.expected:
            text = _("This is not the name of the key. Type %(name)s to go on, or go back.")
            raise forms.ValidationError(text % {"name": self.expected})
        return typed


class ScheduleDeletionForm(TypedNameForm):
    """How long to wait; a confirmation is asked for where something is lost that no count sees."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["confirm"].label = str(CONFIRM.label)
        if not list(self.page.witnesses.reasons()):
            del self.fields["confirm"]

    def confirmation(self) -> str:
        expected: str = self.page.witnesses.expected
        return expected


class ScheduleDeletion(KeyConfirmation):
    operation = Operation.SCHEDULE_DELETION
    form_class = ScheduleDeletionForm

    @property
    def can_be_done(self) -> bool:
        return self.values == 0

    @cached_property
    def witnesses(self) -> Witnesses:
        return witnesses_of(self.row, uncounted_now())

    def consequences(self) -> list[str]:
        if not self.can_be_done:
            text = _("%(values)s would be lost, so this is refused while there is one.")
            return [
                self.of_values(text),
                _("Move them to another key first, or shred the key together with its values."),
            ]
        return [
            _("No stored value is under it: every encrypted column was counted just now."),
            _(
                "It becomes unusable now, and is destroyed permanently when the waiting period "
                "ends."
            ),
            _use_text(last_use(self.row)),
            _kms_text(last_use_by_kms(self.row)),
            *_uncounted_texts(self.witnesses),
            _("Backups are not counted: what is only in a backup can never be read again."),
            self.when_it_holds(),
        ]

    def message(self, result: datetime) -> str:
        day = date_format(template_localtime(result), "DATE_FORMAT")
        text = _("%(what)s is unusable now, and will be destroyed on %(day)s.")
        return text % {**self.words(), "day": day}


class CancelDeletion(KeyConfirmation):
    operation = Operation.CANCEL_DELETION

    def consequences(self) -> list[str]:
        return [_("It will not be destroyed."), _("It stays disabled until it is enabled again.")]

    def message(self, result: None) -> str:
        return _("The deletion of %(what)s is cancelled. It is disabled.") % self.words()


class ShredForm(TypedNameForm):
    """The name of the key, and the numbers that were shown beside it."""

    counted = forms.JSONField(widget=forms.HiddenInput, required=False)  # there may be none

    def clean_counted(self) -> tuple[certificates.FieldCount, ...]:
        try:
            return tuple(
                certificates.FieldCount(str(database), str(model), str(field), int(values))
                for database, model, field, values in self.cleaned_data["counted"]
            )
        except (OverflowError, TypeError, ValueError):
            raise forms.ValidationError(_("Reload this page.")) from None


class Shred(KeyConfirmation):
    operation = Operation.SHRED
    form_class = ShredForm

    @cached_property
    def ready_at(self) -> datetime | None:
        return lifecycle.ready_to_shred_at(self.row)

    @property
    def is_ready(self) -> bool:
        return self.ready_at is not None and self.ready_at <= databases.now()

    def initial(self) -> dict[str, Any]:
        return {"counted": [list(each) for each in certificates.counted_fields(self.rows or [])]}

    def consequences(self) -> list[str]:
        lookups = certificates.lookups_text(certificates.ended_lookups(self.rows or []))
        return [
            self.of_values(_("It is destroyed permanently, together with: %(values)s.")),
            *([lookups] if lookups else []),
            _kms_text(last_use_by_kms(self.row)),
            _(
                "Backups remain: the values can be read until the last backup of the wrapped key "
                "is gone, or its root key."
            ),
            self._step(),
        ]

    def perform(self) -> str:
        given = self.form.cleaned_data
        agreed = certificates.ShredConfirmation(given["confirm"], given["counted"])
        if self.is_ready:
            done = lifecycle.finish_shredding(self.row, confirm=agreed, actor=self.actor)
            text = _(
                "%(what)s is destroyed, together with %(values)s. The certificate is event "
                "%(event)d of the audit trail."
            )
            words = {"what": done.name, "values": values_text(done.total), "event": done.event}
            return text % words
        ready = lifecycle.begin_shredding(self.row, confirm=agreed, actor=self.actor)
        text = _("%(what)s is disabled. Destroy it from %(time)s on, on the same page.")
        return text % {**self.words(), "time": _time(ready)}

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


def _use_text(last_use: datetime | None) -> str:
    """Say when it was last used."""
    if last_use is None:
        return _("It has never been used.")
    return _("It was last used on %(time)s.") % {"time": as_utc(last_use)}


def _kms_text(last_use: datetime | None) -> str:
    """Say what no census can count."""
    if last_use is None:
        return _("The operations of envelope_fields.kms have never been used under it.")
    return _(
        "envelope_fields.kms gave out data under it, last on %(time)s. No census counts that, and "
        "none of it can be decrypted any more."
    ) % {"time": as_utc(last_use)}


def _uncounted_texts(witnesses: Witnesses) -> list[str]:
    """Name copies as text, and what was not counted."""
    text = _("Copies as text, which cannot be decrypted any more: %(path)s.")
    copies = [text % {"path": each} for each in witnesses.copies]
    return copies + [_("Not counted: %(path)s.") % {"path": each} for each in witnesses.unseen]


def _time(moment: Any) -> str:
    time_format = "TIME_FORMAT" if moment.second == 0 else "H:i:s"
    return date_format(template_localtime(moment), time_format)


_PAGES: dict[Operation, type[KeyConfirmation]] = {
    page.operation: page
    for page in (Rotate, Enable, Disable, MoveAlias, ScheduleDeletion, CancelDeletion, Shred)
}

# By the names in addresses, in the order of the buttons.
KEY_OPERATIONS = {
    str(operation): operation
    for operation in Operation
    if operation.button and operation.transitions
}


def key_page(operation: Operation) -> type[KeyConfirmation]:
    """Return the page of an operation; without one of its own, it has the registry's words."""
    return _PAGES.get(operation) or type("Page", (KeyConfirmation,), {"operation": operation})
