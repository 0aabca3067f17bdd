"""Who may do what with a key: one decider, for acts on keys and for values.

`principals` are on whose behalf a key is used, and which is bound to code; `requests` counts what
is in flight, and knows where each came from; `users` are asked of the database, and their changes
notified; `data` is what is known of keys, grants and users, and `decisions` are made on it.
`attempts` are what is decided about, and listeners are notified of those that are refused.
"""

from envelope_fields.policy.attempts import Action, Attempt, Denial, notify, on_denied
from envelope_fields.policy.data import KeyVersionState
from envelope_fields.policy.decisions import (
    CREATE_KEY,
    allowed_actions,
    allowed_on_each,
    keys_open_to,
    require,
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
    "current_principal",
    "keys_open_to",
    "notify",
    "on_denied",
    "origin",
    "principal_of",
    "require",
    "require_on_each",
]
