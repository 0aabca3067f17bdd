"""The rules between the states of master keys: who becomes what, and when.

`operations` is the registry: what can be done to a key, from which state to which, by whom, and in
which words. `context` has what all share: one transaction with the lock, the policy's decision, the
change, and its audit event. `keys` are found by their names, with who may do what with them, and
`representation` how keys are shown. The other modules do the operations.
"""

from envelope_fields.lifecycle.aliases import AliasRefused, AliasTaken, move_alias
from envelope_fields.lifecycle.certificates import (
    ConfirmationRequired,
    FieldCount,
    ShredCertificate,
    ShredConfirmation,
)
from envelope_fields.lifecycle.context import expecting
from envelope_fields.lifecycle.deletion import (
    BadWaitingPeriod,
    Destructions,
    cancel_deletion,
    destroy_due_keys,
    schedule_deletion,
)
from envelope_fields.lifecycle.keys import Refused, find_master_key, possible_operations
from envelope_fields.lifecycle.master_keys import (
    adopt,
    create_master_key,
    disable,
    enable,
    update_master_key,
)
from envelope_fields.lifecycle.moving import Rewrapped, rewrap_master_keys, under_other_root_keys
from envelope_fields.lifecycle.operations import Operation
from envelope_fields.lifecycle.other_processes import (
    key_cache_bound,
    lower_key_cache_bound,
    seconds_until_known,
)
from envelope_fields.lifecycle.root_keys import (
    Opened,
    Readiness,
    RootKeyCheck,
    check_root_keys,
    open_master_key_versions,
)
from envelope_fields.lifecycle.rotation import (
    Rotations,
    next_rotation,
    rotate_due_keys,
    rotate_master_key,
)
from envelope_fields.lifecycle.shredding import (
    begin_shredding,
    finish_shredding,
    ready_to_shred_at,
    shred,
    shred_confirmation,
)
from envelope_fields.lifecycle.witnesses import KeyInUse

__all__ = [
    "AliasRefused",
    "AliasTaken",
    "BadWaitingPeriod",
    "ConfirmationRequired",
    "Destructions",
    "FieldCount",
    "KeyInUse",
    "Opened",
    "Operation",
    "Readiness",
    "Refused",
    "Rewrapped",
    "RootKeyCheck",
    "Rotations",
    "ShredCertificate",
    "ShredConfirmation",
    "adopt",
    "begin_shredding",
    "cancel_deletion",
    "check_root_keys",
    "create_master_key",
    "destroy_due_keys",
    "disable",
    "enable",
    "expecting",
    "find_master_key",
    "finish_shredding",
    "key_cache_bound",
    "lower_key_cache_bound",
    "move_alias",
    "next_rotation",
    "open_master_key_versions",
    "possible_operations",
    "ready_to_shred_at",
    "rewrap_master_keys",
    "rotate_due_keys",
    "rotate_master_key",
    "schedule_deletion",
    "seconds_until_known",
    "shred",
    "shred_confirmation",
    "under_other_root_keys",
    "update_master_key",
]
