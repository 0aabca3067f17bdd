"""What a principal may ask of a key, in KMS's terms."""

from __future__ import annotations

from enum import StrEnum


class Action(StrEnum):
    """The actions that a grant names; each is an operation of the AWS KMS API, in snake case."""

    ENCRYPT = "encrypt"
    DECRYPT = "decrypt"
    GENERATE_DATA_KEY = "generate_data_key"
    RE_ENCRYPT = "re_encrypt"
    DESCRIBE = "describe"
    ROTATE = "rotate"
    ENABLE = "enable"
    DISABLE = "disable"
    SCHEDULE_DELETION = "schedule_deletion"
    CANCEL_DELETION = "cancel_deletion"
    MANAGE_GRANTS = "manage_grants"
    VIEW_AUDIT = "view_audit"


# What is done with data under a key, as opposed to what is done with the key.
DATA_ACTIONS = frozenset(
    {Action.ENCRYPT, Action.DECRYPT, Action.GENERATE_DATA_KEY, Action.RE_ENCRYPT}
)

# What users may do without a grant where a key is managed by the application: in AWS, too, whoever
# has access to an account may use and see the keys that AWS manages in it.
OPEN_ACTIONS = DATA_ACTIONS | {Action.DESCRIBE}
