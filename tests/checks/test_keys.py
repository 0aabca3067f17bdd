"""Stored master keys, against the root keys in the settings and the fields that name them."""

import base64
import os

import pytest
from django.apps import apps
from django.core.checks import Tags, run_checks
from django.db import connection, models

from envelope_fields import keyring
from envelope_fields.audit import triggers
from envelope_fields.checks import keys
from envelope_fields.checks.keys import check_aliases, check_stored_versions, check_triggers
from envelope_fields.fields import EncryptedTextField
from envelope_fields.keyring import materials, renewal
from envelope_fields.lifecycle import adopt, create_master_key, disable, rotate_master_key
from envelope_fields.models import KeyState, MasterKey, MasterKeyVersion
from tests.checks.test_settings import broken, entry

pytestmark = pytest.mark.django_db

KEYS = ["default"]  # the database that they are in


def another_root_key():
    return entry(key=base64.b64encode(os.urandom(32)).decode())


def stored_id(version):
    return bytes(version.version_id).hex()


@pytest.fixture
def root_key(settings):
    """Replace the root key under which the stored versions are wrapped."""

    def replace(replacement, name="default"):
        settings.ENVELOPE_FIELDS = {"ROOT_KEYS": {name: replacement}}

    return replace


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
        assert message.msg.startswith("2 stored master key version(s) cannot be opened.")
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
        check = keyring.check_version
        monkeypatch.setattr(
            keyring,
            "check_version",
            lambda version_id: (asked.append(version_id), check(version_id)),
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
        unwrap = renewal.unwrap

        def kept(row):
            unwrapped.append(unwrap(row))
            return unwrapped[-1]

        monkeypatch.setattr(renewal, "unwrap", kept)
        check_stored_versions(KEYS)
        assert unwrapped == [bytearray(32)]


class TestAliases:
    def test_an_alias_that_exists_is_silent(self, registry, ids):
        create_master_key("lab")

        class Patient(models.Model):
            notes = EncryptedTextField(key="lab")
            more = EncryptedTextField()
            other = EncryptedTextField(key=lambda instance: "nowhere")

        assert ids() == []

    def test_an_alias_that_is_missing_is_a_warning(self, registry, report):
        class Patient(models.Model):
            notes = EncryptedTextField(key="lab")

        (message,) = report()
        assert message.id == "envelope_fields.W002"
        assert message.obj is Patient._meta.get_field("notes")
        assert "create_master_key lab" in message.hint

    def test_the_case_of_an_alias_counts(self, registry, ids):
        create_master_key("LAB")

        class Patient(models.Model):
            notes = EncryptedTextField(key="lab")

        assert ids() == ["W002"]


class TestWhere:
    """Both checks look into the database of the keys, and only when Django lets them."""

    @pytest.mark.parametrize("check", [check_stored_versions, check_aliases])
    @pytest.mark.parametrize("databases", [None, [], ["other"]], ids=str)
    def test_other_databases_are_left_alone(self, check, databases, root_key):
        root_key(another_root_key())
        with connection.execute_wrapper(self.refuse):
            assert check(databases=databases) == []

    @pytest.mark.parametrize("check", [check_stored_versions, check_aliases])
    def test_wrong_settings_are_left_to_their_own_check(self, check, settings):
        settings.ENVELOPE_FIELDS = {"DATABASE": "nowhere"}
        assert check(databases=KEYS) == []

    @pytest.mark.parametrize("check", [check_stored_versions, check_aliases])
    @pytest.mark.parametrize("made", [[], ["envelope_fields_masterkey"]], ids=str)
    def test_before_the_tables_are_made_there_is_nothing_to_check(self, check, made, monkeypatch):
        monkeypatch.setattr(connection.introspection, "table_names", lambda *_, **__: made)
        assert check(databases=KEYS) == []

    @pytest.mark.django_db(databases=["default", "other"])  # Django asks them for their versions
    def test_without_databases_django_runs_the_others(self, root_key):
        root_key(another_root_key())
        with connection.execute_wrapper(self.refuse):
            assert run_checks(app_configs=[apps.get_app_config("envelope_fields")]) == []

    def test_with_databases_django_runs_them(self, root_key):
        root_key(another_root_key())
        ids = [message.id for message in run_checks(tags=[Tags.database], databases=KEYS)]
        assert "envelope_fields.E005" in ids

    @staticmethod
    def refuse(execute, sql, params, many, context):
        assert "envelope_fields_" not in sql
        return execute(sql, params, many, context)


@pytest.mark.django_db
def test_a_key_that_serves_no_fields(django_user_model):
    create_master_key("lab", actor=django_user_model.objects.create_user("ann"))
    found = [message for message in check_aliases(databases=["default"])
             if message.id == "envelope_fields.W008"]  # fmt: skip
    assert {str(message.obj) for message in found} >= {"tests.LabNote.text"}
    assert "adopt_master_key lab" in found[0].hint
    adopt("lab")
    assert "envelope_fields.W008" not in {
        message.id for message in check_aliases(databases=["default"])
    }


@pytest.mark.django_db(transaction=True)
class TestTriggers:
    def test_missing(self):
        """envelope_fields.W060"""
        assert check_triggers(databases=["default"]) == []
        triggers.drop(connection)
        try:
            (message,) = check_triggers(databases=["default"])
        finally:
            triggers.create(connection)
        assert message.id == "envelope_fields.W060"
        assert "run `python manage.py migrate`" in message.hint
        assert check_triggers(databases=["default"]) == []

    def test_another_database_is_not_asked(self):
        assert check_triggers(databases=None) == []
        assert check_triggers(databases=["other"]) == []
