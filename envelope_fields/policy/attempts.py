"""Attempts to do something with a key, in KMS's terms, and who is notified of those refused."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _

from envelope_fields.exceptions import KeyAccessDenied
from envelope_fields.policy.principals import ANONYMOUS, APPLICATION, Principal


class Action(TextChoices):
    """The actions that a grant names; each is an operation of the AWS KMS API, in snake case."""

    ENCRYPT = "encrypt", _("encrypt")
    DECRYPT = "decrypt", _("decrypt")
    GENERATE_DATA_KEY = "generate_data_key", _("generate data keys")
    RE_ENCRYPT = "re_encrypt", _("re-encrypt")
    GENERATE_MAC = "generate_mac", _("generate MACs")
    VERIFY_MAC = "verify_mac", _("verify MACs")
    DESCRIBE = "describe", _("describe")
    ROTATE = "rotate", _("rotate")
    ENABLE = "enable", _("enable")
    DISABLE = "disable", _("disable")
    SCHEDULE_DELETION = "schedule_deletion", _("schedule deletion")
    CANCEL_DELETION = "cancel_deletion", _("cancel deletion")
    MANAGE_GRANTS = "manage_grants", _("manage grants")
    VIEW_AUDIT = "view_audit", _("view the audit trail")


# What is done with data under a key, as opposed to what is done with the key.
DATA_ACTIONS = frozenset({
    Action.ENCRYPT, Action.DECRYPT, Action.GENERATE_DATA_KEY, Action.RE_ENCRYPT,
    Action.GENERATE_MAC, Action.VERIFY_MAC,
})  # fmt: skip

# What users may do without a grant where a key is managed by the application: in AWS, too, users
# with access to an account may use and see the keys that AWS manages in it.
OPEN_ACTIONS = DATA_ACTIONS | {Action.DESCRIBE}


class Attempt(NamedTuple):
    """What a principal wants to do, with which key, and where."""

    action: Action | str  # such as `create_key`, where it is an act that no grant allows
    key_id: UUID | None  # None where there is no key yet
    key_alias: str | None  # None if it has none any more
    field_path: str = ""  # `app.model.field`, for the value of a field

    def denied_to(self, principal: Principal) -> "Denial":
        return Denial(principal, *self)


@dataclass(frozen=True, slots=True)
class Denial:
    """An attempt that the policy refused.

    Attributes:
        principal: who tried; `UNBOUND` where no principal was bound to the code.
        action, key_id, key_alias, field_path: what they tried; see `Attempt`.
    """

    principal: Principal
    action: Action | str
    key_id: UUID | None
    key_alias: str | None
    field_path: str = ""

    def refused(self, advice: str = "") -> KeyAccessDenied:
        """Return the error for it, with the way out.

        Anonymous is not told the key; the log and the trail have it.
        """
        what = str(self)
        if self.principal == ANONYMOUS:
            where = f" values of {self.field_path}" if self.field_path else " with this key"
            what = f"anonymous may not {self.action}{where}"
        return KeyAccessDenied(f"{what}. {advice or self._advice()}")

    def _advice(self) -> str:
        if self.principal == APPLICATION:
            return "The key says that the application may not use it; a user with a grant may."
        if self.principal == ANONYMOUS:
            return "Log in as a user who has a grant."
        return "It takes a grant on the key: `python manage.py grant_key`, or the admin."

    def __str__(self) -> str:
        key = repr(self.key_alias) if self.key_alias else str(self.key_id or "")
        key = f"master key {key}".rstrip()
        where = f" for {self.field_path}" if self.field_path else ""
        return f"{self.principal} may not {self.action} with {key}{where}"


Listener = Callable[[Denial], None]
_listeners: list[Listener] = []


def on_denied(listener: Listener) -> None:
    """Call `listener` with each `Denial`, before the error is raised. Twice is once."""
    if listener not in _listeners:
        _listeners.append(listener)


def notify(denial: Denial) -> Denial:
    """Notify the listeners, and return it."""
    for listener in _listeners:
        listener(denial)
    return denial
