"""The rules between the states of master keys: who becomes what, and when.

Rooms: `transitions` is the state machine, `locking` lets operators take turns, and `acts` has what
all acts share: one transaction with the lock, the policy's word, the change, and its audit event.
"""

from envelope_fields.lifecycle.adoption import adopt
from envelope_fields.lifecycle.alias_errors import AliasRefused, AliasTaken
from envelope_fields.lifecycle.aliases import move_alias
from envelope_fields.lifecycle.cache_bound import (
    key_cache_bound,
    lower_key_cache_bound,
    seconds_until_known,
)
from envelope_fields.lifecycle.certificates import FieldCount, ShredCertificate, ShredConfirmation
from envelope_fields.lifecycle.changes import update_master_key
from envelope_fields.lifecycle.confirmation import ConfirmationRequired
from envelope_fields.lifecycle.creation import create_master_key
from envelope_fields.lifecycle.deletion import (
    BadWaitingPeriod,
    cancel_deletion,
    schedule_deletion,
)
from envelope_fields.lifecycle.destruction import Destructions, destroy_due_keys
from envelope_fields.lifecycle.failures import Refused
from envelope_fields.lifecycle.locking import expecting, find_master_key
from envelope_fields.lifecycle.occupancy import KeyInUse
from envelope_fields.lifecycle.operations import Operation
from envelope_fields.lifecycle.root_keys import (
    Opened,
    Rewrapped,
    open_master_key_versions,
    rewrap_master_keys,
    under_other_root_keys,
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
from envelope_fields.lifecycle.switching import disable, enable
from envelope_fields.lifecycle.transitions import possible_operations

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
    "Refused",
    "Rewrapped",
    "Rotations",
    "ShredCertificate",
    "ShredConfirmation",
    "adopt",
    "begin_shredding",
    "cancel_deletion",
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
