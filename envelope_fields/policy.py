"""Who may do what with a key: the one check that every door passes.

Today the state of the key and of the version decide; DESIGN law 9 puts grants here as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from envelope_fields.exceptions import MasterKeyUnusable
from envelope_fields.models import KeyState


class Action(StrEnum):
    """What a principal may ask of a key, in KMS's terms."""

    ENCRYPT = "encrypt"
    DECRYPT = "decrypt"


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


def authorize(action: Action, version: KeyVersionState) -> None:
    """Return if the principal may do `action` with `version`.

    Raises:
        MasterKeyUnusable: the key or the version is not enabled.
    """
    for what, state in (("key", version.key_state), ("version", version.state)):
        if state != KeyState.ENABLED:
            raise MasterKeyUnusable(
                f"Cannot {action}: {version} is unusable, because its {what} is "
                f"{state.replace('_', ' ')}."
            )
