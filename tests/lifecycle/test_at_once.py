"""Two operators at once, on connections of their own: one of the serial outcomes, and no other."""

import pytest

from envelope_fields import audit
from envelope_fields.exceptions import EnvelopeError, MasterKeyUnusable
from envelope_fields.lifecycle import (
    cancel_deletion,
    create_master_key,
    destroy_due_keys,
    disable,
    enable,
    move_alias,
    rotate_due_keys,
    rotate_master_key,
    schedule_deletion,
)
from envelope_fields.models import MasterKey, MasterKeyVersion
from tests.at_once import at_once
from tests.lifecycle import at, events, key_in

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


def errors(outcomes):
    return [outcome for outcome in outcomes if isinstance(outcome, Exception)]


@pytest.fixture
def key():
    return key_in("enabled")


@pytest.fixture(autouse=True)
def the_trail_holds():
    yield
    assert audit.verify().intact


def test_rotations(key):
    outcomes = at_once(*[lambda: rotate_master_key("tenant")] * 4)
    assert errors(outcomes) == []
    assert sorted(key.versions.values_list("number", flat=True)) == [1, 2, 3, 4, 5]
    assert events(key).count("rotate") == 4


def test_rotate_and_disable(key):
    failed = errors(at_once(lambda: rotate_master_key("tenant"), lambda: disable("tenant")))
    key.refresh_from_db()
    assert key.state == "disabled"
    assert all(isinstance(error, MasterKeyUnusable) for error in failed)
    assert key.versions.count() == 2 - len(failed)


def test_enable_and_disable(key):
    assert errors(at_once(lambda: enable("tenant"), lambda: disable("tenant"))) == []
    key.refresh_from_db()
    told = [event for event in events(key) if event in ("enable", "disable")]
    assert (key.state, told) in [("disabled", ["disable"]), ("enabled", ["disable", "enable"])]


def test_schedule_and_cancel():
    key = key_in("disabled")
    outcomes = at_once(lambda: schedule_deletion("tenant"), lambda: cancel_deletion("tenant"))
    assert errors(outcomes) == []
    key.refresh_from_db()
    assert (key.state == "pending_deletion") == (key.deletion_at is not None)
    assert events(key)[-1] in ("schedule_deletion", "cancel_deletion")
    expected = {"schedule_deletion": "pending_deletion", "cancel_deletion": "disabled"}
    assert key.state == expected[events(key)[-1]]


def test_destroy_and_cancel(key, monkeypatch):
    schedule_deletion(key, 7)
    at(monkeypatch, days=8)
    destroyed, cancelled = at_once(destroy_due_keys, lambda: cancel_deletion(key.pk))
    key.refresh_from_db()
    if key.state == "destroyed":
        assert isinstance(cancelled, MasterKeyUnusable)
        assert bytes(key.versions.get().wrapped_material) == b""
    else:
        assert (key.state, destroyed.destroyed) == ("disabled", [])
        assert bytes(key.versions.get().wrapped_material) != b""


def test_destroying_twice(key, monkeypatch):
    schedule_deletion(key, 7)
    at(monkeypatch, days=8)
    outcomes = at_once(*[destroy_due_keys] * 3)
    assert errors(outcomes) == []
    assert sum(len(outcome.destroyed) for outcome in outcomes) == 1
    assert events(key).count("destroy") == 1


def test_due_rotations_are_made_once(key, monkeypatch):
    MasterKey.objects.filter(pk=key.pk).update(rotation_period=90)
    at(monkeypatch, days=91)
    outcomes = at_once(*[rotate_due_keys] * 3)
    assert errors(outcomes) == []
    assert sum(len(outcome.rotated) for outcome in outcomes) == 1
    assert key.versions.count() == 2


def test_aliases_move_one_after_the_other(key):
    other = create_master_key("other")
    third = create_master_key("third")
    outcomes = at_once(
        lambda: move_alias("tenant", other.pk),
        lambda: move_alias("tenant", third.pk),
        lambda: move_alias("other", key.pk),
    )
    assert all(isinstance(error, EnvelopeError) for error in errors(outcomes))
    aliases = [alias for alias in MasterKey.objects.values_list("alias", flat=True) if alias]
    assert len(aliases) == len(set(aliases))
    assert aliases.count("tenant") == 1


def test_two_that_make_one():
    outcomes = at_once(*[lambda: create_master_key("lab")] * 3)
    assert len(errors(outcomes)) == 2
    assert all("'lab'" in str(error) for error in errors(outcomes))
    made = MasterKey.objects.get(alias="lab")
    assert MasterKeyVersion.objects.filter(master_key=made).count() == 1
