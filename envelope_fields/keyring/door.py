"""The one door to derived keys: the policy is asked for each value, and each use is counted.

Derived keys serve all who come; decisions are made for one principal, action and place.
"""

from __future__ import annotations

from envelope_fields.conf import configuration
from envelope_fields.exceptions import MasterKeyUnusable
from envelope_fields.keyring import rows, uses
from envelope_fields.keyring.table import Serving, Table
from envelope_fields.keyring.uses import Errand
from envelope_fields.policy import KeyVersionState, authorization
from envelope_fields.policy.authorization import check_state
from envelope_fields.policy.data import PolicyData
from envelope_fields.policy.decisions import Attempt


def is_admitted(table: Table, version: KeyVersionState, place: str, errand: Errand) -> bool:
    """Whether it is known already that this actor may come through, and is counted."""
    actor = authorization.known_actor()
    if (actor, errand, version.version_id, place) not in table.facts.admitted:
        return False
    uses.counted(version.version_id, errand).one()
    return True


def admit(
    table: Table, facts: PolicyData, version: KeyVersionState, place: str, errand: Errand
) -> None:
    """Ask the policy, then whether the state allows it: who may not is not told the state.

    Args:
        table: what is known of keys.
        facts: what is known of people, as the table had it before anything was read.
        version: the key version.
        place: `app.model.field`, for the value of a field.
        errand: what the key is needed for.

    Raises:
        KeyAccessDenied: the principal may not, or nobody is bound and somebody must be.
        MasterKeyUnusable: the state forbids it, or something could not be read.
    """
    policy = table.policy(version.key_id)
    attempt = Attempt(errand.action, version.key_id, version.alias, place)
    lasts = authorization.admit(attempt, policy, facts, configuration().database)
    try:
        check_state(errand.action, version)
    except MasterKeyUnusable:
        uses.refused(version.version_id, errand)
        raise
    if lasts:
        facts.admitted.add((authorization.known_actor(), errand, version.version_id, place))


def serving(table: Table, row: rows.KeyRow, errand: Errand) -> Serving:
    """Return what a table keeps with a derived key: whom it serves without being asked."""
    policy = table.policy(row.state.key_id)
    return (
        uses.counted(row.state.version_id, errand),
        authorization.serves_everybody(policy),
        authorization.serves_unbound_code(policy),
        row.state,
    )
