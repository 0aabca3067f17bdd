"""Moving master keys to another root key."""

import base64
import os
from copy import deepcopy

import pytest
from django.conf import settings as project
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command

from envelope_fields import audit, keyring
from envelope_fields.exceptions import KeyAccessDenied
from envelope_fields.lifecycle import (
    create_master_key,
    disable,
    rewrap_master_keys,
    rotate_master_key,
    schedule_deletion,
    shred,
    under_other_root_keys,
)
from envelope_fields.models import AuditEvent, AuditKey, MasterKeyVersion
from tests.at_once import at_once
from tests.models import Note, TenantNote

pytestmark = pytest.mark.django_db(databases="__all__")
LOCAL = "envelope_fields.root_keys.local.LocalRootKey"


def root_key(secret=None):
    text = secret or base64.b64encode(os.urandom(32)).decode()
    return {"BACKEND": LOCAL, "OPTIONS": {"key": text}}


@pytest.fixture
def both(settings):
    """The root key of the tests, and a new one."""
    given = deepcopy(project.ENVELOPE_FIELDS)
    given["ROOT_KEYS"] = {**given["ROOT_KEYS"], "new": root_key()}
    settings.ENVELOPE_FIELDS = given
    return settings


def only(settings, name):
    """Take the other root keys out of the settings."""
    given = deepcopy(settings.ENVELOPE_FIELDS)
    given["ROOT_KEYS"] = {name: given["ROOT_KEYS"][name]}
    settings.ENVELOPE_FIELDS = given


def names():
    versions = set(MasterKeyVersion.objects.values_list("root_key", flat=True))
    return versions | set(AuditKey.objects.values_list("root_key", flat=True))


def test_then_the_old_one_can_go(both):
    note = Note.objects.create(text="a", data=None)
    key = create_master_key("tenant")
    TenantNote.objects.create(tenant="tenant", text="b")
    rotate_master_key(key)
    disable(key.versions.get(number=1))
    done = rewrap_master_keys("new")
    assert (len(done.moved), done.refused) == (4, [])  # three versions, and the trail's key
    assert names() == {"new"}
    only(both, "new")
    keyring.evict()
    note.refresh_from_db()
    assert note.text == "a"
    Note.objects.create(text="c", data=None)
    create_master_key("later")
    assert audit.verify().intact


def test_the_material_is_the_same(both):
    note = Note.objects.create(text="a", data=None)
    rewrap_master_keys("new")
    rewrap_master_keys("default")
    only(both, "default")
    keyring.evict()
    note.refresh_from_db()
    assert note.text == "a"


def test_twice_moves_nothing(both):
    create_master_key("tenant")
    rewrap_master_keys("new")
    events = AuditEvent.objects.count()
    assert rewrap_master_keys("new").moved == []
    assert AuditEvent.objects.count() == events


def test_each_is_in_the_trail(both):
    key = create_master_key("tenant")
    rewrap_master_keys("new")
    event = AuditEvent.objects.get(key_id=key.pk, action="rewrap_master_key")
    assert event.before == {"root_key": "default", "wrapping_key_id": ""}
    assert event.after == {"root_key": "new", "wrapping_key_id": ""}
    assert event.version_number == 1
    assert AuditEvent.objects.filter(action="rewrap_audit_key").count() == 1


def test_pending_ones_move_and_destroyed_ones_do_not(both):
    pending, gone = create_master_key("pending"), create_master_key("gone")
    schedule_deletion(pending)
    given = deepcopy(both.ENVELOPE_FIELDS)
    both.ENVELOPE_FIELDS = {**given, "KEY_CACHE_SECONDS": 0}
    shred(gone)
    rewrap_master_keys("new")
    assert pending.versions.get().root_key == "new"
    version = gone.versions.get()
    assert (version.root_key, bytes(version.wrapped_material)) == ("default", b"")
    assert under_other_root_keys("new") == []


def test_a_bad_one_keeps_none_from_it(both):
    bad, good = create_master_key("bad"), create_master_key("good")
    version = bad.versions.get()
    broken = bytearray(version.wrapped_material)
    broken[-1] ^= 1
    MasterKeyVersion.objects.filter(pk=version.pk).update(wrapped_material=bytes(broken))
    done = rewrap_master_keys("new")
    assert [refused.row.pk for refused in done.refused] == [version.pk]
    version.refresh_from_db()
    assert (version.root_key, bytes(version.wrapped_material)) == ("default", bytes(broken))
    assert good.versions.get().root_key == "new"


def _bit_flipped(wrapped):
    material = wrapped.material
    return wrapped._replace(material=material[:-1] + bytes([material[-1] ^ 1]))


def test_the_old_wrapping_stays_where_the_new_one_does_not_open(both, monkeypatch):
    from envelope_fields.root_keys.local import LocalRootKey

    create_master_key("tenant")
    before = list(MasterKeyVersion.objects.order_by("pk").values_list("root_key", flat=True))
    wrap = LocalRootKey.wrap
    monkeypatch.setattr(LocalRootKey, "wrap", lambda *a: _bit_flipped(wrap(*a)))
    done = rewrap_master_keys("new")
    assert (done.moved, len(done.refused)) == ([], 3)
    assert before == list(
        MasterKeyVersion.objects.order_by("pk").values_list("root_key", flat=True)
    )


def test_what_changed_meanwhile_is_not_overwritten(both, monkeypatch):
    """Two operators, and both have opened the same version."""
    key = create_master_key("tenant")
    rewrapped = keyring.rewrapped
    inner = []

    def and_another_operator_is_faster(*given):
        result = rewrapped(*given)
        if not inner:
            inner.append(1)
            rewrap_master_keys("new")
        return result

    monkeypatch.setattr(keyring, "rewrapped", and_another_operator_is_faster)
    done = rewrap_master_keys("new")
    assert done.refused == []
    events = AuditEvent.objects.filter(action="rewrap_master_key", key_id=key.pk)
    assert events.count() == 1
    only(both, "new")
    keyring.evict()
    keyring.check_version(bytes(key.versions.get().version_id))


def test_an_unknown_root_key(both):
    with pytest.raises(ImproperlyConfigured, match="newer"):
        rewrap_master_keys("newer")
    assert names() <= {"default"}


def test_users_need_a_grant(both, django_user_model):
    create_master_key("tenant")
    done = rewrap_master_keys("new", actor=django_user_model.objects.create_user("x"))
    assert done.moved == []
    assert {type(refused.error) for refused in done.refused} == {KeyAccessDenied}
    assert names() == {"default"}


class TestCommand:
    def test_to_the_first(self, both, capsys):
        create_master_key("tenant")
        given = deepcopy(both.ENVELOPE_FIELDS)
        given["ROOT_KEYS"] = dict(reversed(given["ROOT_KEYS"].items()))
        both.ENVELOPE_FIELDS = given
        call_command("rewrap_master_keys", dry_run=True)
        assert "To be moved to the root key 'new': 3." in capsys.readouterr().out
        call_command("rewrap_master_keys")
        out = capsys.readouterr().out
        assert "Moved to the root key 'new': 3. Left under others: 0." in out

    def test_a_failure_is_one(self, both):
        version = create_master_key("bad").versions.get()
        MasterKeyVersion.objects.filter(pk=version.pk).update(wrapped_material=b"x" * 73)
        with pytest.raises(CommandError):
            call_command("rewrap_master_keys", to="new")


@pytest.mark.django_db(transaction=True, databases="__all__")
def test_two_at_once(both):
    for number in range(5):
        create_master_key(f"tenant/{number}")
    outcomes = at_once(*[lambda: rewrap_master_keys("new")] * 3)
    assert [outcome.refused for outcome in outcomes] == [[]] * 3
    assert sum(len(outcome.moved) for outcome in outcomes) == 7
    assert names() == {"new"}
    assert audit.verify().intact
