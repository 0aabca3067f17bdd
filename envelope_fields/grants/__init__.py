"""Grants: who may do what with a master key, handed out and taken away (KMS: CreateGrant).

`grantees` are the users and groups that grants name, `acts` hand grants out and take them away, and
`representation` is how grants are shown.
"""

from envelope_fields.grants.acts import LastGrant, grant, revoke
from envelope_fields.grants.representation import ListedGrant, list_grants

__all__ = ["LastGrant", "ListedGrant", "grant", "list_grants", "revoke"]
