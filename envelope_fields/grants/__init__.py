"""Grants: who may do what with a master key, handed out and taken away (KMS: CreateGrant).

`grantees` are the users and groups that grants name, and show grants with their names; `acts` hand
grants out and take them away.
"""

from envelope_fields.grants.acts import LastGrant, grant, revoke
from envelope_fields.grants.grantees import ListedGrant, list_grants

__all__ = ["LastGrant", "ListedGrant", "grant", "list_grants", "revoke"]
