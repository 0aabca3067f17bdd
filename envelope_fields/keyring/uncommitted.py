"""What must not be written under a key version that a rollback would take away (law 3)."""

from __future__ import annotations

from envelope_fields import key_changes
from envelope_fields.conf import configuration
from envelope_fields.exceptions import MasterKeyUnusable
from envelope_fields.policy import KeyVersionState


def refuse_uncommitted(version: KeyVersionState, using: str | None) -> None:
    """Return if what is written under a version can only vanish together with it.

    Args:
        version: the key version.
        using: the database that the value goes to; None when it leaves for elsewhere.

    Raises:
        MasterKeyUnusable: the version is not committed, and the value is for elsewhere.
    """
    if using == configuration().database or not key_changes.any_uncommitted():
        return
    if key_changes.can_vanish(version.version_id):
        where = "outside the database" if using is None else f"in the database {using!r}"
        raise MasterKeyUnusable(
            f"Cannot encrypt for use {where}: {version} is not committed, and a rollback would "
            "leave the value without its key. Do this after the transaction."
        )
