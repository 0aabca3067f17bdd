"""Key versions as decisions see them: their state decides first, whoever asks."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from envelope_fields.exceptions import MasterKeyUnusable
from envelope_fields.models import KeyState


@dataclass(frozen=True, slots=True)
class KeyVersionState:
    """What a decision is made on: a key version and its key, as the database has them."""

    version_id: bytes
    number: int
    state: str
    key_id: UUID
    alias: str | None
    key_state: str

    def __str__(self) -> str:
        key = f"master key {self.alias!r}" if self.alias else f"master key {self.key_id}"
        return f"version {self.number} ({self.version_id.hex()}) of {key}"


def check_state(action: str, version: KeyVersionState) -> None:
    """Return if a key version may be used at all.

    Raises:
        MasterKeyUnusable: the key or the version is not enabled.
    """
    for what, state in (("key", version.key_state), ("version", version.state)):
        if state != KeyState.ENABLED:
            raise MasterKeyUnusable(
                f"Cannot {action}: {version} is unusable, because its {what} is "
                f"{state.replace('_', ' ')}."
            )
