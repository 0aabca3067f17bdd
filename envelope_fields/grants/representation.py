"""Grants as they are listed, and as the API, commands and the audit trail show them."""

from dataclasses import dataclass
from typing import Any

from django.utils import timezone

from envelope_fields.conf import configuration
from envelope_fields.grants.grantees import (
    Grantee,
    are_effective,
    granted_to,
    grantee,
    grantee_of,
    name_of,
    rows_of,
)
from envelope_fields.lifecycle.keys import Key, found_key
from envelope_fields.lifecycle.representation import as_text
from envelope_fields.models import KeyGrant


@dataclass(frozen=True)
class ListedGrant:
    """A grant, and what is known of its grantee.

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
        to: a user or group; None is all of them.

    Raises:
        MasterKeyNotFound: there is no such key.
        TypeError, ValidationError: `to` is neither a user nor a group, or is gone.
    """
    using = configuration().database
    rows = KeyGrant.objects.using(using).select_related("master_key")
    if key is not None:
        rows = rows.filter(master_key=found_key(using, key))
    named = None if to is None else grantee_of(to)
    if named is not None:
        rows = rows.filter(granted_to(named))
    found = rows.order_by("master_key__alias", "pk")
    return described([row for row in found if named in (None, grantee(row))])


def described(grants: list[KeyGrant]) -> list[ListedGrant]:
    """Return rows of grants with what is known of their grantees."""
    known = rows_of({grantee(row) for row in grants})
    effective = are_effective(known)
    return [
        ListedGrant(row, name_of(known.get(grantee(row))), _void(row, known, effective))
        for row in grants
    ]


def _void(grant: KeyGrant, known: dict[Grantee, Any], effective: dict[Grantee, bool]) -> str:
    named = grantee(grant)
    if named not in known:
        return "gone"
    if not effective[named]:
        return "inactive"
    if grant.expires_at is not None and grant.expires_at <= timezone.now():
        return "expired"
    return ""


def grant_content(listed: ListedGrant) -> dict[str, Any]:
    """Return a grant as plain data, and what is known of its grantee."""
    grant = listed.grant
    return {
        "grant": grant.pk,
        "key": grant.master_key.alias,
        "key_id": str(grant.master_key_id),
        "principal_type": grant.principal_type,
        "principal_id": grant.principal_id,
        "name": listed.name,
        "actions": grant.actions,
        "context": grant.context,
        "expires_at": grant.expires_at,
        "void": listed.void,
    }


def grantee_text(listed: ListedGrant) -> str:
    """Name the grantee of a grant, with what they are."""
    return f"{listed.grant.principal_type} {listed.name or listed.grant.principal_id}"


def event_content(grant: KeyGrant, name: str) -> dict[str, Any]:
    """Return a grant as an event of the audit trail has it.

    Args:
        grant: its row.
        name: of the grantee, for users; empty where the grantee is deleted.
    """
    grantee = f"{grant.principal_type} {grant.principal_id}"
    return {
        "grant": grant.pk,
        "principal": f"{grantee} ({name})" if name else grantee,
        "actions": grant.actions,
        "context": grant.context,
        "expires_at": as_text(grant.expires_at),
    }
