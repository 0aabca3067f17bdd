"""Grants: who may do what with a master key, handed out and taken away (KMS: CreateGrant).

`grantees` are the users and groups that grants name, `creation` and `revocation` the two acts, and
`representation` is how grants are shown.
"""

from envelope_fields.grants.creation import grant
from envelope_fields.grants.representation import ListedGrant, list_grants
from envelope_fields.grants.revocation import LastGrant, revoke

__all__ = ["LastGrant", "ListedGrant", "grant", "list_grants", "revoke"]
