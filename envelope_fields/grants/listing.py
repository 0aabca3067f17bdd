"""The grants that there are, and those among them that are void."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.utils import timezone

from envelope_fields.conf import configuration
from envelope_fields.grants.holders import (
    Holder,
    are_effective,
    held_by,
    holder,
    holder_of,
    name_of,
    rows_of,
)
from envelope_fields.lifecycle.locking import Key, found_key
from envelope_fields.models import KeyGrant


@dataclass(frozen=True)
class ListedGrant:
    """A grant, and what is known of whom it names.

    Attributes:
        grant: its row, with its master key.
        name: the name of the user or group; empty where there is none any more.
        void: why it is of no use: `expired`, `gone` or `inactive` (a group without an active user,
            too); empty where it is.
    """

    grant: KeyGrant
    name: str
    void: str


def list_grants(key: Key | None = None, to: Any = None) -> list[ListedGrant]:
    """Return the grants on a key, or of a user or group, or all of them.

    Args:
        key: a master key, its id or its alias; None is every key.
        to: a user or group; None is everybody.

    Raises:
        MasterKeyNotFound: there is no such key.
        TypeError, ValidationError: `to` is neither a user nor a group, or is gone.
    """
    using = configuration().database
    rows = KeyGrant.objects.using(using).select_related("master_key")
    if key is not None:
        rows = rows.filter(master_key=found_key(using, key))
    named = None if to is None else holder_of(to)
    if named is not None:
        rows = rows.filter(held_by(named))
    found = rows.order_by("master_key__alias", "pk")
    return described([row for row in found if named in (None, holder(row))])


def described(grants: list[KeyGrant]) -> list[ListedGrant]:
    """Return rows of grants with what is known of whom they name."""
    known = rows_of({holder(row) for row in grants})
    effective = are_effective(known)
    return [
        ListedGrant(row, name_of(known.get(holder(row))), _void(row, known, effective))
        for row in grants
    ]


def _void(grant: KeyGrant, known: dict[Holder, Any], effective: dict[Holder, bool]) -> str:
    named = holder(grant)
    if named not in known:
        return "gone"
    if not effective[named]:
        return "inactive"
    if grant.expires_at is not None and grant.expires_at <= timezone.now():
        return "expired"
    return ""
