"""Who may do what with a key: the one check that every door passes.

Rooms: `principals` are on whose behalf a key is used, `acting` binds one to the code, `requests`
counts what is in flight and `origin` says where each came from, `people` asks the database for
users, `facts` are what is known of keys, grants and people until there is `news`, `decisions` are
made on them, `asking` says beforehand what they would be, `serving` whether fields may write under
a key, and `admission` is the keyring's door. Who listens is told of `denials`.
"""

from envelope_fields.policy.acting import acting_as, current_principal
from envelope_fields.policy.actions import DATA_ACTIONS, Action
from envelope_fields.policy.asking import allowed_actions, keys_open_to
from envelope_fields.policy.decisions import (
    CREATE_KEY,
    require,
    require_application,
    require_creator,
)
from envelope_fields.policy.denials import Denial, on_denied, tell
from envelope_fields.policy.origin import Origin, origin
from envelope_fields.policy.principals import (
    ANONYMOUS,
    APPLICATION,
    NOBODY,
    Principal,
    principal_of,
)
from envelope_fields.policy.versions import KeyVersionState
from envelope_fields.policy.versions import check_state as authorize

__all__ = [
    "ANONYMOUS",
    "APPLICATION",
    "CREATE_KEY",
    "DATA_ACTIONS",
    "NOBODY",
    "Action",
    "Denial",
    "KeyVersionState",
    "Origin",
    "Principal",
    "acting_as",
    "allowed_actions",
    "authorize",
    "current_principal",
    "keys_open_to",
    "on_denied",
    "origin",
    "principal_of",
    "require",
    "require_application",
    "require_creator",
    "tell",
]
