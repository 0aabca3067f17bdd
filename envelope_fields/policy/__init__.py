"""Who may do what with a key: one decider, and one authorization of the keyring.

`principals` are on whose behalf a key is used, and which is bound to code; `requests` counts what
is in flight, and knows where each came from; `users` are asked of the database, and their changes
notified; `data` is what is known of keys, grants and users; `decisions` are made on it; and by its
`authorization` the keyring reads and writes values. `attempts` are what is decided about, and
listeners are notified of those that are refused.
"""

from envelope_fields.policy.attempts import DATA_ACTIONS, Action, Attempt, Denial, notify, on_denied
from envelope_fields.policy.authorization import KeyVersionState, check_state as authorize
from envelope_fields.policy.decisions import (
    CREATE_KEY,
    allowed_actions,
    allowed_on_each,
    keys_open_to,
    require,
    require_application,
    require_creator,
    require_on_each,
)
from envelope_fields.policy.principals import (
    ANONYMOUS,
    APPLICATION,
    UNBOUND,
    Principal,
    acting,
    acting_as,
    current_principal,
    principal_of,
)
from envelope_fields.policy.requests import Origin, origin

__all__ = [
    "ANONYMOUS",
    "APPLICATION",
    "CREATE_KEY",
    "DATA_ACTIONS",
    "UNBOUND",
    "Action",
    "Attempt",
    "Denial",
    "KeyVersionState",
    "Origin",
    "Principal",
    "acting",
    "acting_as",
    "allowed_actions",
    "allowed_on_each",
    "authorize",
    "current_principal",
    "keys_open_to",
    "notify",
    "on_denied",
    "origin",
    "principal_of",
    "require",
    "require_application",
    "require_creator",
    "require_on_each",
]
