"""The whole product of states and acts, for keys and for versions."""

import pytest

from envelope_fields.exceptions import MasterKeyUnusable
from envelope_fields.lifecycle import (
    Operation,
    cancel_deletion,
    disable,
    enable,
    move_alias,
    possible_operations,
    rotate_master_key,
    schedule_deletion,
    shred,
    update_master_key,
)
from envelope_fields.models import AuditEvent, KeyState
from tests.lifecycle import key_in, version_in

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(databases="__all__")]

ACTS = {
    "enable": enable,
    "disable": disable,
    "schedule_deletion": schedule_deletion,
    "cancel_deletion": cancel_deletion,
    "shred": shred,
    "rotate": rotate_master_key,
    "move_alias": lambda key: move_alias("other", key),
    "update_key": lambda key: update_master_key(key, description="new"),
}
# From, act: to. What is not here is refused.
KEYS = {
    ("enabled", "enable"): "enabled",
    ("enabled", "disable"): "disabled",
    ("enabled", "schedule_deletion"): "pending_deletion",
    ("enabled", "shred"): "destroyed",
    ("enabled", "rotate"): "enabled",
    ("enabled", "move_alias"): "enabled",
    ("enabled", "update_key"): "enabled",
    ("disabled", "enable"): "enabled",
    ("disabled", "disable"): "disabled",
    ("disabled", "schedule_deletion"): "pending_deletion",
    ("disabled", "cancel_deletion"): "disabled",
    ("disabled", "shred"): "destroyed",
    ("disabled", "move_alias"): "disabled",
    ("disabled", "update_key"): "disabled",
    ("pending_deletion", "schedule_deletion"): "pending_deletion",
    ("pending_deletion", "cancel_deletion"): "disabled",
    ("pending_deletion", "shred"): "destroyed",
    ("destroyed", "shred"): "destroyed",  # the same certificate again
}
OF_KEYS_ALONE = {"rotate", "move_alias", "update_key"}


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("state", KeyState.values)
class TestTheTable:
    def test_of_keys(self, state, act):
        self.check(key_in(state), state, act)

    def test_of_versions(self, state, act):
        version = version_in(state)
        if act in OF_KEYS_ALONE:
            with pytest.raises(TypeError):
                ACTS[act](version)
        else:
            self.check(version, state, act)

    def check(self, row, state, act):
        events = AuditEvent.objects.count()
        to = KEYS.get((state, act))
        if to is None:
            with pytest.raises(MasterKeyUnusable) as caught:
                ACTS[act](row)
            assert state.replace("_", " ") in str(caught.value)
            assert AuditEvent.objects.count() == events
        else:
            ACTS[act](row)
        row.refresh_from_db()
        assert row.state == (to or state)


@pytest.mark.parametrize("act", [enable, disable, schedule_deletion, cancel_deletion, shred])
def test_twice_is_once(act):
    key = key_in({enable: "disabled", cancel_deletion: "pending_deletion"}.get(act, "enabled"))
    act(key)
    events = AuditEvent.objects.count()
    key.refresh_from_db()
    before = (key.state, key.state_changed_at, key.deletion_at)
    act(key)
    key.refresh_from_db()
    assert (key.state, key.state_changed_at, key.deletion_at) == before
    assert AuditEvent.objects.count() == events


@pytest.mark.parametrize("act", [disable, schedule_deletion, shred])
def test_the_current_version_has_no_state_of_its_own(act):
    version = key_in("enabled").current_version
    with pytest.raises(MasterKeyUnusable, match="is the current one"):
        act(version)


@pytest.mark.parametrize("state", KeyState.values)
def test_possible_operations_are_those_that_change_something(state):
    changing = {
        act
        for act in ACTS
        if (state, act) in KEYS and (act in OF_KEYS_ALONE or KEYS[state, act] != state)
    }
    assert possible_operations(key_in(state)) == {Operation(act) for act in changing}


def test_the_caller_s_row_is_told():
    key = key_in("enabled")
    disable(key)
    assert key.state == "disabled"
    due = schedule_deletion(key)
    assert (key.state, key.deletion_at) == ("pending_deletion", due)
