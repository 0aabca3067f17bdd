"""Grants: who may do what with a master key, handed out and taken away (KMS: CreateGrant).

Rooms: `holders` are the users and groups that grants name, `contexts` are where one holds,
`granting` and `revoking` are the two acts, `departures` are users and groups that are deleted, and
`listing` is for people and scripts that look at what there is.
"""

from envelope_fields.grants.granting import grant
from envelope_fields.grants.listing import ListedGrant, list_grants
from envelope_fields.grants.revoking import LastGrant, revoke

__all__ = ["LastGrant", "ListedGrant", "grant", "list_grants", "revoke"]
