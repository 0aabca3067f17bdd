"""Versions that a process made which may wrap and not unwrap: they serve nothing until opened."""

from datetime import timedelta

import pytest

from envelope_fields import keyring, kms, rotation
from envelope_fields.census.values import key_versions
from envelope_fields.exceptions import KeyAccessDenied, MasterKeyUnusable, RootKeyRefused
from envelope_fields.lifecycle import (
    create_master_key,
    disable,
    enable,
    open_master_key_versions,
    rewrap_master_keys,
    rotate_due_keys,
    rotate_master_key,
)
from envelope_fields.lifecycle.representation import key_content, key_content_with_versions
from envelope_fields.lifecycle.rotation import next_rotation, with_versions
from envelope_fields.models import AuditEvent, MasterKey, MasterKeyVersion
from envelope_fields.root_keys import Unwrapped
from tests.models import TenantNote
from tests.root_keys.backends import WrapsAlone, entry
from tests.stored import stored, version_of

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


@pytest.fixture(autouse=True)
def _wraps_alone(settings, monkeypatch):
    """Let this process unwrap what is there, and nothing that is made from now on."""
    monkeypatch.setattr(WrapsAlone, "may_unwrap", True)
    settings.ENVELOPE_FIELDS = {"ROOT_KEYS": {"default": entry("WrapsAlone")}}
    key = create_master_key("lab", rotation_period=90)
    TenantNote.objects.create(tenant="lab", text="before")
    assert key.current_version.opened_at is not None
    monkeypatch.setattr(WrapsAlone, "may_unwrap", False)


@pytest.fixture
def key():
    return MasterKey.objects.get(alias="lab")


@pytest.fixture
def may_unwrap(monkeypatch):
    return lambda: monkeypatch.setattr(WrapsAlone, "may_unwrap", True)


def written_under():
    note = TenantNote.objects.create(tenant="lab", text="a")
    version = MasterKeyVersion.objects.get(version_id=version_of(stored(note, "text")))
    return version.number


class TestANewVersion:
    def test_is_not_current(self, key):
        version = rotate_master_key(key)
        assert (version.number, version.opened_at) == (2, None)
        assert key.current_version.number == 1
        assert [each.number for each in key_versions() if each.is_current] == [1, 1]
        assert key_content(key)["current_version"] == 1
        content = key_content_with_versions(key)
        assert content["current_version"] == 1
        assert [each["current"] for each in content["versions"]] == [True, False]
        assert with_versions(MasterKey.objects.filter(pk=key.pk)).get().current_number == 1
        assert written_under() == 1
        ciphertext = kms.encrypt("lab", b"value", {})
        assert version_of(ciphertext) == bytes(key.current_version.version_id)

    def test_is_what_the_trail_says(self, key):
        rotate_master_key(key)
        event = AuditEvent.objects.get(action="rotate")
        assert event.before == {"current_version": 1}
        assert event.after == {"current_version": 1, "unopened_version": 2}

    def test_is_current_once_it_was_opened(self, key, may_unwrap):
        version = rotate_master_key(key)
        assert written_under() == 1
        may_unwrap()
        done = open_master_key_versions()
        assert (done.opened, done.refused) == ([version], [])
        assert key.current_version == version
        assert written_under() == 2
        assert TenantNote.objects.filter(tenant="lab").first().text == "before"
        event = AuditEvent.objects.get(action="open_version")
        assert (event.before, event.after) == ({"current_version": 1}, {"current_version": 2})
        assert event.version_number == 2
        assert open_master_key_versions().opened == []

    def test_has_then_what_the_root_key_says_that_it_was_wrapped_with(
        self, key, may_unwrap, monkeypatch
    ):
        version = rotate_master_key(key)
        assert version.wrapping_key_id == ""
        may_unwrap()
        monkeypatch.setattr(
            WrapsAlone,
            "unwrap_identified",
            lambda *given: Unwrapped(WrapsAlone.unwrap(*given), "7"),
        )
        assert open_master_key_versions().opened == [version]
        assert key.current_version.wrapping_key_id == "7"

    def test_is_not_opened_where_this_process_may_not(self, key):
        rotate_master_key(key)
        done = open_master_key_versions()
        assert done.opened == []
        assert isinstance(done.refused[0].error, RootKeyRefused)
        assert written_under() == 1

    def test_takes_the_next_number_all_the_same(self, key, may_unwrap):
        rotate_master_key(key)
        may_unwrap()
        assert rotate_master_key(key).number == 3
        assert key.current_version.number == 3
        assert len(open_master_key_versions().opened) == 1
        assert written_under() == 3

    def test_is_not_opened_while_it_is_disabled(self, key, may_unwrap):
        version = rotate_master_key(key)
        disable(version)
        may_unwrap()
        assert open_master_key_versions().opened == []
        enable(version)
        assert len(open_master_key_versions().opened) == 1
        assert written_under() == 2

    def test_counts_for_the_period(self, key, monkeypatch):
        version = rotate_master_key(key)
        assert next_rotation(key) > key.current_version.created_at
        assert next_rotation(key) == version.created_at + timedelta(days=90)
        MasterKeyVersion.objects.filter(master_key=key, number=1).update(
            created_at=version.created_at - timedelta(days=100)
        )
        assert rotate_due_keys().rotated == []

    def test_takes_no_values_from_a_rotation(self, key):
        rotate_master_key(key)
        assert all(row.version.number == 1 for row in rotation.census(key))
        rotation.run("lab", kind="re_encrypt")
        assert {row.version.number for row in rotation.census(key)} == {1}


class TestANewKey:
    def test_serves_nothing_until_it_was_opened(self, may_unwrap):
        key = create_master_key("new")
        assert key.current_version.number == 1
        assert [each for each in key_versions(key) if each.is_current] == []
        for write in (
            lambda: TenantNote.objects.create(tenant="new", text="a"),
            lambda: kms.encrypt(key, b"value", {}),
        ):
            with pytest.raises(MasterKeyUnusable, match="open_master_key_versions"):
                write()
        may_unwrap()
        assert [each.master_key for each in open_master_key_versions().opened] == [key]
        TenantNote.objects.create(tenant="new", text="a")


def test_users_need_a_right_to_open(key, may_unwrap, django_user_model):
    rotate_master_key(key)
    may_unwrap()
    done = open_master_key_versions(actor=django_user_model.objects.create_user("x"))
    assert isinstance(done.refused[0].error, KeyAccessDenied)
    assert key.current_version.number == 1


def test_nothing_is_moved_to_a_root_key_that_does_not_open_it_again(key, settings, may_unwrap):
    own = entry("Watching")
    settings.ENVELOPE_FIELDS = {"ROOT_KEYS": {"default": own, "alone": entry("WrapsAlone")}}
    done = rewrap_master_keys("alone")
    assert done.moved == []
    assert all("may do both" in str(refused) for refused in done.refused)
    may_unwrap()
    assert len(rewrap_master_keys("alone").moved) == 3
    keyring.evict()
    assert written_under() == 1
