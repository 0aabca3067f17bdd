"""Whether a key serves the fields that name it: an alias is no right (law 9).

Whoever takes an alias first would be given what is written under it. So a key serves fields if the
application made it and gave it its alias, or has adopted it.
"""

from __future__ import annotations

from envelope_fields.exceptions import MasterKeyUnusable
from envelope_fields.policy.facts import KeyPolicy


def check_serves_fields(policy: KeyPolicy, alias: str | None, managed_by: str | None) -> None:
    """Return if fields that name a key by its alias may write under it.

    Args:
        policy: what the key says of itself.
        alias: its alias.
        managed_by: who manages the key, by the declaration of the field; None is anybody.

    Raises:
        MasterKeyUnusable: a user made the key, or gave it its alias, and the application has not
            adopted it; or it is managed otherwise.
    """
    if not policy.serves_fields:
        raise MasterKeyUnusable(
            f"Cannot write under the master key {alias!r}: a user made it or gave it this alias, "
            "and so it serves no fields yet. If it is to serve them, the application adopts it: "
            f"`python manage.py adopt_master_key {alias}`."
        )
    if managed_by not in (None, policy.managed_by):
        raise MasterKeyUnusable(
            f"Cannot write under the master key {alias!r}: the field declares that its keys are "
            f"managed by the {managed_by}, and this one is managed by the {policy.managed_by}. "
            "Declare what is true, or give the alias to another key."
        )
