"""Attempts that were refused, and who is notified of them."""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from envelope_fields.policy.actions import Action
from envelope_fields.policy.principals import Principal


@dataclass(frozen=True, slots=True)
class Denial:
    """An attempt that the policy refused.

    Attributes:
        principal: who tried; `UNBOUND` where no principal was bound to the code.
        action: what they tried: an `Action`, or `create_key`.
        key_id: the master key; None where there is none yet.
        key_alias: its alias; None if it has none any more.
        field_path: `app.model.field`, for the value of a field; else empty.
    """

    principal: Principal
    action: Action | str
    key_id: UUID | None
    key_alias: str | None
    field_path: str = ""

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


def notify(denial: Denial) -> None:
    """Notify the listeners."""
    for listener in _listeners:
        listener(denial)
