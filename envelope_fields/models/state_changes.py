"""Changes of states, and when each was seen to be committed.

What a row says of when it was changed is written before the commit. Others go by the state before
until then, and for `KEY_CACHE_SECONDS` after.
"""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from envelope_fields.models.key_changes import announce_saved


class StateChange(models.Model):
    """A change of the state of a key, an index, a conversion or the bound of key caches.

    Attributes:
        changed_at: what the row that was changed says of when.
        committed_at: a moment by which the change was committed; None until that was seen.
    """

    changed_at = models.DateTimeField(_("changed at"), db_index=True)
    committed_at = models.DateTimeField(_("committed at"), null=True)

    class Meta:
        verbose_name = _("change of a state")
        verbose_name_plural = _("changes of states")
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.changed_at:%Y-%m-%d %H:%M:%S.%f}"

    @property
    def made_id(self) -> bytes:
        """By which it is known that it is not committed; see `key_changes.can_vanish`."""
        return change_id(self.changed_at)


def change_id(changed_at: object) -> bytes:
    """Return the id of a change, by its moment."""
    return f"change at {changed_at}".encode()


announce_saved(StateChange)
