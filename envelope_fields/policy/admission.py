"""The door of the keyring: who comes through with a value, decided on what is known already."""

from __future__ import annotations

from envelope_fields.conf import configuration
from envelope_fields.exceptions import KeyAccessDenied
from envelope_fields.models import KeyManager
from envelope_fields.policy import people
from envelope_fields.policy.acting import bound_actor, current_principal
from envelope_fields.policy.decisions import (
    Attempt,
    Verdict,
    acting_principal,
    denied,
    verdict,
)
from envelope_fields.policy.denials import tell
from envelope_fields.policy.facts import Facts, KeyPolicy
from envelope_fields.policy.principals import Principal


def serves_everybody(policy: KeyPolicy) -> bool:
    """Whether a key is open to every principal, whoever it is."""
    return policy.managed_by == KeyManager.APPLICATION


def serves_unbound_code(policy: KeyPolicy) -> bool:
    """Whether a key is open to code that nobody is bound to, while no request is handled."""
    open_to_application = serves_everybody(policy) or policy.application_use
    return open_to_application and not configuration().require_principal


def known_actor() -> str | None:
    """Return what decisions about the actor of this code are kept under; None if they are not."""
    actor = bound_actor()
    if actor is None or people.uncommitted():  # what may be rolled back is not kept
        return None
    try:
        return actor.key if isinstance(actor, Principal) else actor.principal().key
    except KeyAccessDenied:  # somebody whom no grant can name: whoever decides says so
        return None


def is_allowed(attempt: Attempt, policy: KeyPolicy, facts: Facts, using: str) -> bool:
    """Whether the bound principal may do that until anything changes; no denial is recorded.

    Args and errors are those of `admit`.
    """
    if people.uncommitted():
        return False
    answer = verdict(attempt, current_principal(), policy, facts, using)
    return answer is Verdict.ALLOWED


def admit(attempt: Attempt, policy: KeyPolicy, facts: Facts, using: str) -> bool:
    """Return if whoever is bound to this code may do that with data; and whether to keep that.

    Args:
        attempt: what it is.
        policy: what the key says of itself.
        facts: what is known.
        using: the database of the keys.

    Raises:
        KeyAccessDenied: the principal may not, or nobody is bound and somebody must be.
        MasterKeyUnusable: users or grants could not be read.
    """
    bound = bound_actor() is not None
    if bound and serves_everybody(policy):
        return False  # and nobody has to look up who it is
    principal = acting_principal(attempt)
    in_doubt = people.uncommitted()
    if in_doubt:
        facts = Facts()
    answer = verdict(attempt, principal, policy, facts, using)
    if answer is Verdict.REFUSED:
        if (principal, attempt) not in facts.refused:
            facts.refused.add((principal, attempt))
            tell(attempt.denied_to(principal))
        raise denied(attempt, principal)
    return bound and not in_doubt and answer is Verdict.ALLOWED
