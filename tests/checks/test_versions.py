"""Stored master key versions, against the root keys in the settings."""

import base64
import os

import pytest

from envelope_fields import keyring
from envelope_fields.checks import keys
from envelope_fields.checks.keys import check_further_wraps, check_stored_versions
from envelope_fields.exceptions import RootKeyRefused, RootKeyUnavailable, WrappedKeyAltered
from envelope_fields.keyring import materials, wrapping
from envelope_fields.lifecycle import create_master_key, disable, rotate_master_key
from envelope_fields.models import KeyState, MasterKey, MasterKeyVersion
from tests.checks.test_settings import broken, entry
from tests.root_keys.backends import Service

pytestmark = pytest.mark.django_db

KEYS = ["default"]  # the database that they are in


def another_root_key():
    return entry(key=base64.b64encode(os.urandom(32)).decode())


def stored_id(version):
    return bytes(version.version_id).hex()


class TestStoredVersions:
    def test_versions_that_open_are_silent(self):
        rotate_master_key("default")
        disable(create_master_key("disabled"))
        assert check_stored_versions(KEYS) == []

    def test_versions_that_do_not_open_are_named(self, root_key):
        rotate_master_key("default")
        disable(create_master_key("disabled"))
        root_key(another_root_key())
        (message,) = check_stored_versions(KEYS)
        assert message.id == "envelope_fields.E005"
        assert "'default' does not open 3 of the 3 newest" in message.msg
        for version in MasterKeyVersion.objects.all():
            assert stored_id(version) in message.msg

    def test_one_altered_row_is_told_from_the_others(self):
        good = MasterKey.objects.get(alias="default").current_version
        bad = create_master_key("altered").current_version
        wrapped = bytearray(bad.wrapped_material)
        wrapped[-1] ^= 1
        MasterKeyVersion.objects.filter(pk=bad.pk).update(wrapped_material=bytes(wrapped))
        (message,) = check_stored_versions(KEYS)
        assert message.id == "envelope_fields.E005"
        assert stored_id(bad) in message.msg
        assert stored_id(good) not in message.msg

    def test_a_root_key_that_is_not_in_the_settings_is_reported_once(self, root_key):
        rotate_master_key("default")
        root_key(another_root_key(), name="new")
        (message,) = check_stored_versions(KEYS)
        assert message.id == "envelope_fields.E004"
        assert message.msg.startswith("2 stored master key versions cannot be opened.")
        assert "'default'" in message.msg

    def test_a_root_key_that_is_missing_is_reported_once(self, root_key):
        rotate_master_key("default")
        root_key(entry(env="ENVELOPE_TEST_NOT_SET"))
        (message,) = check_stored_versions(KEYS)
        assert message.id == "envelope_fields.E004"
        assert "ENVELOPE_TEST_NOT_SET" in message.msg

    def test_a_root_key_that_does_not_answer_is_a_warning_and_asked_once(
        self, root_key, monkeypatch
    ):
        rotate_master_key("default")
        root_key(broken("unavailable"))
        asked = []
        check = keyring.check_wrap
        monkeypatch.setattr(
            keyring, "check_wrap", lambda *given: (asked.append(given), check(*given))
        )
        (message,) = check_stored_versions(KEYS)
        assert message.id == "envelope_fields.W001"
        assert len(asked) == 1

    def test_destroyed_versions_are_not_needed(self, root_key):
        MasterKeyVersion.objects.update(state=KeyState.DESTROYED)
        root_key(another_root_key())
        assert check_stored_versions(KEYS) == []

    def test_versions_of_a_destroyed_key_are_not_needed(self, root_key):
        MasterKey.objects.update(state=KeyState.DESTROYED)
        root_key(another_root_key())
        assert check_stored_versions(KEYS) == []

    def test_versions_pending_deletion_are_still_needed(self, root_key):
        MasterKey.objects.update(state=KeyState.PENDING_DELETION)
        root_key(another_root_key())
        assert [message.id for message in check_stored_versions(KEYS)] == ["envelope_fields.E005"]

    def test_the_work_and_the_output_are_bounded(self, root_key, monkeypatch):
        for _ in range(keys.VERSIONS_NAMED + 2):
            rotate_master_key("default")
        newest, oldest = list(MasterKeyVersion.objects.order_by("-pk"))[:: keys.VERSIONS_NAMED + 2]
        monkeypatch.setattr(keys, "VERSIONS_TRIED", keys.VERSIONS_NAMED + 1)
        root_key(another_root_key())
        (message,) = check_stored_versions(KEYS)
        assert message.msg.endswith("and 1 more.")
        assert stored_id(newest) in message.msg
        assert stored_id(oldest) not in message.msg

    def test_nothing_is_left_in_the_keyring(self):
        keyring.evict()
        assert check_stored_versions(KEYS) == []
        assert materials._plaintext == {}

    def test_the_material_is_wiped(self, monkeypatch):
        unwrapped = []
        unwrap = wrapping.unwrap

        def kept(*given):
            unwrapped.append(unwrap(*given))
            return unwrapped[-1]

        monkeypatch.setattr(wrapping, "unwrap", kept)
        check_stored_versions(KEYS)
        assert unwrapped == [bytearray(32)]


class TestFurtherWraps:
    @pytest.fixture(autouse=True)
    def root_keys(self, settings):
        before = settings.ENVELOPE_FIELDS["ROOT_KEYS"]

        def replace(*names, **further):
            roots = {**Service.settings(*names, **further), **before}
            settings.ENVELOPE_FIELDS = {"ROOT_KEYS": roots}
            keyring.evict()

        Service.reset()
        replace("one", "two", "three", one=["two"])
        create_master_key("lab")
        yield replace
        Service.reset()

    def ids(self):
        found = [*check_stored_versions(KEYS), *check_further_wraps(KEYS)]
        return [message.id.removeprefix("envelope_fields.") for message in found]

    def test_all_that_open_are_silent(self):
        assert self.ids() == []

    def test_the_first_is_out_of_the_settings(self, root_keys):
        root_keys("two")
        (message,) = check_stored_versions(KEYS)
        assert message.id == "envelope_fields.W004"
        assert "no root key 'one'" in message.msg
        assert "rewrap_master_keys" in message.hint

    def test_both_are_out_of_the_settings(self, root_keys):
        root_keys("three")
        assert self.ids() == ["E004", "E004"]

    def test_some_are_wrapped_by_the_lost_one_alone(self, root_keys):
        root_keys("one", "two")
        rotate_master_key("lab")
        root_keys("two")
        found = {message.id: message.msg for message in check_stored_versions(KEYS)}
        assert found.keys() == {"envelope_fields.W004", "envelope_fields.E004"}
        assert found["envelope_fields.E004"].startswith("1 stored")

    def test_the_first_refuses(self):
        Service.errors["one"] = RootKeyRefused("no")
        (message,) = check_stored_versions(KEYS)
        assert message.id == "envelope_fields.E005"
        assert "take it out of the settings" in message.hint

    @pytest.mark.parametrize("name", ["one", "two"])
    def test_one_was_altered(self, name):
        version = MasterKeyVersion.objects.get(master_key__alias="lab")
        Service.errors[name] = WrappedKeyAltered("not mine")
        (message,) = check_stored_versions(KEYS)
        assert message.id == "envelope_fields.W004"
        assert f"'{name}' does not open" in message.msg
        assert stored_id(version) in message.msg

    def test_one_does_not_answer(self):
        Service.errors["two"] = RootKeyUnavailable("away")
        assert self.ids() == ["W001"]

    def test_one_is_missing(self, root_keys):
        rotate_master_key("lab")
        root_keys("one", "two", "three", one=["two", "three"])
        (message,) = check_further_wraps(KEYS)
        assert message.id == "envelope_fields.W005"
        assert "does not wrap 2 master key versions" in message.msg
        assert "'three'" in message.msg
        disable("lab")
        MasterKey.objects.filter(alias="lab").update(state=KeyState.DESTROYED)
        assert check_further_wraps(KEYS) == []

    def test_of_another_database_nothing_is_said(self, root_keys):
        root_keys("one", "two", "three", one=["three"])
        assert check_further_wraps(["other"]) == check_further_wraps(None) == []
