"""Authorization: whether a value may be read or written, decided on what is known already.

Also whether a key serves the fields that name it. An alias is no right (law 9): a user who took an
alias first would be given what is written under it. So a key serves fields if the application made
it and gave it its alias, or has adopted it.
"""

from dataclasses import dataclass
from uuid import UUID

from envelope_fields.conf import configuration
from envelope_fields.exceptions import KeyAccessDenied, MasterKeyUnusable
from envelope_fields.models import KeyManager, KeyState
from envelope_fields.policy import users
from envelope_fields.policy.attempts import Action, Attempt, notify
from envelope_fields.policy.data import KeyPolicy, PolicyData, key_policy
from envelope_fields.policy.decisions import Verdict, acting_principal, denied, verdict
from envelope_fields.policy.principals import Principal, bound_actor, current_principal


@dataclass(frozen=True, slots=True)
class KeyVersionState:
    """What a decision is made on: a key version and its key, as the database has them."""

    version_id: bytes
    number: int
    state: str
    key_id: UUID
    alias: str | None
    key_state: str

    def __str__(self) -> str:
        key = f"master key {self.alias!r}" if self.alias else f"master key {self.key_id}"
        return f"version {self.number} ({self.version_id.hex()}) of {key}"


def check_state(action: str, version: KeyVersionState) -> None:
    """Return if a key version may be used at all.

    Raises:
        MasterKeyUnusable: the key or the version is not enabled.
    """
    for what, state in (("key", version.key_state), ("version", version.state)):
        if state != KeyState.ENABLED:
            raise MasterKeyUnusable(
                f"Cannot {action}: {version} is unusable, because its {what} is "
                f"{state.replace('_', ' ')}."
            )


def check_serves_fields(policy: KeyPolicy, alias: str | None, managed_by: str | None) -> None:
    """Return if fields that name a key by its alias may write under it.

    Args:
        policy: what the key says of itself.
        alias: its alias.
        managed_by: who manages the key, by the declaration of the field; None is anybody.

    Raises:
        MasterKeyUnusable: a user made the key, or gave it its alias, and the application has not
            adopted it; or it is managed otherwise.
    """
    if not policy.serves_fields:
        raise MasterKeyUnusable(
            f"Cannot write under the master key {alias!r}: a user made it or gave it this alias, "
            "and so it serves no fields yet. If it is to serve them, the application adopts it: "
            f"`python manage.py adopt_master_key {alias}`."
        )
    if managed_by not in (None, policy.managed_by):
        raise MasterKeyUnusable(
            f"Cannot write under the master key {alias!r}: the field declares that its keys are "
            f"managed by the {managed_by}, and this one is managed by the {policy.managed_by}. "
            "Declare what is true, or give the alias to another key."
        )


def serves_everybody(policy: KeyPolicy) -> bool:
    """Whether a key is open to every principal."""
    return policy.managed_by == KeyManager.APPLICATION


def serves_unbound_code(policy: KeyPolicy) -> bool:
    """Whether a key is open to unbound code, while no request is handled."""
    open_to_application = serves_everybody(policy) or policy.application_use
    return open_to_application and not configuration().require_principal


def known_actor() -> str | None:
    """Return what decisions about the actor of this code are kept under; None if they are not."""
    actor = bound_actor()
    if actor is None or users.uncommitted():  # what may be rolled back is not kept
        return None
    try:
        return actor.key if isinstance(actor, Principal) else actor.principal().key
    except KeyAccessDenied:  # a user whom no grant can name: the decision says so
        return None


def is_allowed(attempt: Attempt, policy: KeyPolicy, known: PolicyData, using: str) -> bool:
    """Whether the bound principal may do that until anything changes; no denial is recorded.

    Args and errors are those of `admit`.
    """
    if users.uncommitted():
        return False
    answer = verdict(attempt, current_principal(), policy, known, using)
    return answer is Verdict.ALLOWED


def admit(attempt: Attempt, policy: KeyPolicy, known: PolicyData, using: str) -> bool:
    """Return if the bound principal may do that with data; and whether to keep that.

    Args:
        attempt: what it is.
        policy: what the key says of itself.
        known: of users and grants.
        using: the database of the keys.

    Raises:
        KeyAccessDenied: the principal may not, or the code is unbound where it must not be.
        MasterKeyUnusable: users or grants could not be read.
    """
    bound = bound_actor() is not None
    if bound and serves_everybody(policy):
        return False  # without a look at who it is
    principal = acting_principal(attempt)
    in_doubt = users.uncommitted()
    if in_doubt:
        known = PolicyData()
    answer = verdict(attempt, principal, policy, known, using)
    if answer is Verdict.REFUSED:
        if (principal, attempt) not in known.refused:
            known.refused.add((principal, attempt))
            notify(attempt.denied_to(principal))
        raise denied(attempt, principal)
    return bound and not in_doubt and answer is Verdict.ALLOWED


def may(action: Action, version: KeyVersionState) -> bool:
    """Whether the principal who is bound to this code may do something with a key now.

    Raises:
        KeyAccessDenied: none is bound, and one must be.
        MasterKeyUnusable: the key, users or grants could not be read.
    """
    using = configuration().database
    attempt = Attempt(action, version.key_id, version.alias)
    policy = key_policy(version.key_id, using)
    answer = verdict(attempt, current_principal(), policy, PolicyData(), using)
    return answer is not Verdict.REFUSED
