"""Rotate, enable and disable."""

from __future__ import annotations

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
from envelope_fields.lifecycle import Act
from envelope_fields.models import MasterKey


class Rotate(ActPage):
    act = Act.ROTATE
    button = gettext_lazy("Rotate")

    def consequences(self) -> list[str]:
        newest = self.key.current_version.number
        return [
            _(
                "Version %(number)d is made and becomes current: from now on, values are written "
                "under it."
            )
            % {"number": newest + 1},
            _("%(values)s stay where they are, and are read as before.")
            % {"values": values_text(self.values)},
            _(
                "If a version has leaked, this is not enough: its values have to be "
                "re-encrypted, and the version disabled."
            ),
        ]

    def perform(self, form: ActForm) -> str:
        version = lifecycle.rotate_master_key(self.key, actor=self.actor)
        return _("%(key)s was rotated: version %(number)d is current.") % {
            "key": name_of(self.row),
            "number": version.number,
        }


class Enable(ActPage):
    act = Act.ENABLE
    button = gettext_lazy("Enable")

    def consequences(self) -> list[str]:
        return [
            _("%(values)s can be read again.") % {"values": values_text(self.values)},
            when_elsewhere(),
        ]

    def perform(self, form: ActForm) -> str:
        lifecycle.enable(self.row, actor=self.actor)
        return _("%(what)s is enabled.") % {"what": name_of(self.row)}


class Disable(ActPage):
    act = Act.DISABLE
    button = gettext_lazy("Disable")

    def consequences(self) -> list[str]:
        lines = [
            _("%(values)s cannot be read until it is enabled again.")
            % {"values": values_text(self.values)}
        ]
        if isinstance(self.row, MasterKey):
            lines.append(_("Nothing can be written under it: forms that try to will fail."))
        return [*lines, when_elsewhere()]

    def perform(self, form: ActForm) -> str:
        lifecycle.disable(self.row, actor=self.actor)
        return _("%(what)s is disabled.") % {"what": name_of(self.row)}
