"""Root keys are asked before a transaction of ours begins, and each key may name its own."""

import pytest
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db import connection

from envelope_fields import audit, keyring
from envelope_fields.exceptions import KeyAccessDenied, MasterKeyUnusable, RootKeyUnavailable
from envelope_fields.lifecycle import (
    create_master_key,
    disable,
    rewrap_master_keys,
    rotate_due_keys,
    rotate_master_key,
    under_other_root_keys,
    update_master_key,
)
from envelope_fields.lifecycle.on_demand import create_default_key
from envelope_fields.models import AuditEvent, AuditKey, MasterKey, MasterKeyVersion
from envelope_fields.tenants import TenantKey
from tests.at_once import at_once
from tests.models import TenantNote
from tests.root_keys.backends import Watching, entry

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def watching(settings):
    settings.ENVELOPE_FIELDS = {
        "ROOT_KEYS": {
            "default": entry("Watching"), "other": entry("Watching"), "own": entry("Watching"),
        }
    }  # fmt: skip
    Watching.seen.clear()
    return Watching.seen


class TestNoTransactionIsOpen:
    def asked(self, watching):
        assert watching
        return [what for what, was_open in watching if was_open]

    def test_while_a_key_is_made(self, watching):
        create_master_key("lab")
        TenantKey("clinic/{clinic_id}").create(clinic_id=7)
        assert self.asked(watching) == []

    def test_while_a_key_is_rotated(self, watching):
        key = create_master_key("lab", rotation_period=90)
        keyring.evict()
        rotate_master_key(key)
        MasterKeyVersion.objects.update(created_at="2020-01-01T00:00:00Z")
        keyring.evict()
        assert len(rotate_due_keys().rotated) == 1
        assert self.asked(watching) == []

    def test_while_a_state_is_changed(self, watching):
        key = create_master_key("lab")
        keyring.evict()
        watching.clear()
        disable(key)
        assert watching == [("unwrap", False)]  # the key of the trail

    def test_while_a_denial_is_stored(self, watching, django_user_model):
        key = create_master_key("lab")
        keyring.evict()
        watching.clear()
        with pytest.raises(KeyAccessDenied):
            disable(key, actor=django_user_model.objects.create_user("x"))
        assert AuditEvent.objects.filter(outcome="denied").exists()
        assert self.asked(watching) == []

    def test_while_keys_are_moved(self, watching):
        create_master_key("lab")
        keyring.evict()
        rewrap_master_keys("other")
        assert self.asked(watching) == []

    def test_while_the_default_key_is_made(self, watching):
        MasterKey.objects.filter(alias="default").update(alias=None)
        create_default_key(_apps(), "default")
        assert self.asked(watching) == []

    def test_while_the_first_event_of_all_is_added(self, watching):
        assert not AuditKey.objects.exists()
        disable(MasterKey.objects.get(alias="default"))
        assert self.asked(watching) == []
        assert audit.verify().intact


class TestAFailure:
    def test_is_the_same_for_who_records_an_event(self, monkeypatch):
        key = create_master_key("lab")
        keyring.evict()
        monkeypatch.setattr(Watching, "unwrap", _away)
        with pytest.raises(RootKeyUnavailable):
            disable(key)
        assert MasterKey.objects.get(alias="lab").state == "enabled"

    def test_is_none_for_who_does_not(self, monkeypatch):
        key = create_master_key("lab")
        disable(key)
        keyring.evict()
        monkeypatch.setattr(Watching, "unwrap", _away)
        disable(key)  # again, which changes nothing


class TestAnotherOperator:
    def test_who_takes_the_number_is_noticed(self):
        key = create_master_key("lab")
        Watching.meanwhile = lambda: rotate_master_key("lab")
        version = rotate_master_key(key)
        assert version.number == 3
        assert [each.number for each in key.versions.order_by("number")] == [1, 2, 3]
        keyring.check_version(bytes(version.version_id))

    def test_who_rotates_all_the_time_is_named(self, monkeypatch):
        key = create_master_key("lab")
        monkeypatch.setattr("envelope_fields.lifecycle.rotation._TRIES", 2)
        original, inside = keyring.generate_version, []

        def others_are_faster(*given):
            made = original(*given)
            if not inside:
                inside.append(1)
                rotate_master_key("lab")
                inside.clear()
            return made

        monkeypatch.setattr(keyring, "generate_version", others_are_faster)
        with pytest.raises(MasterKeyUnusable, match="all the time"):
            rotate_master_key(key)

    def test_one_who_moves_the_alias_is_noticed(self):
        from envelope_fields.lifecycle import move_alias

        create_master_key("lab")
        heir = create_master_key("heir")
        Watching.meanwhile = lambda: move_alias("lab", heir)
        version = rotate_master_key("lab")
        assert (version.master_key_id, version.number) == (heir.pk, 2)

    def test_a_key_that_is_due_is_rotated_once(self):
        create_master_key("lab", rotation_period=90)
        MasterKeyVersion.objects.update(created_at="2020-01-01T00:00:00Z")
        Watching.meanwhile = lambda: rotate_due_keys()
        assert rotate_due_keys().rotated == []
        assert MasterKey.objects.get(alias="lab").current_version.number == 2

    @pytest.mark.skipif("connection.vendor == 'sqlite'", reason="one writes after the other there")
    def test_several_at_once_make_a_version_each(self):
        assert connection.vendor
        create_master_key("lab")
        made = at_once(*[lambda: rotate_master_key("lab")] * 4)
        assert sorted(version.number for version in made) == [2, 3, 4, 5]


class TestARootKeyOfItsOwn:
    def test_wraps_its_versions(self):
        key = create_master_key("lab", root_key="own")
        rotate_master_key(key)
        assert set(key.versions.values_list("root_key", flat=True)) == {"own"}
        event = AuditEvent.objects.get(action="create_key", key_id=key.pk)
        assert event.after["root_key"] == "own"
        TenantNote.objects.create(tenant="lab", text="a")

    def test_is_where_its_versions_stay_when_others_move(self):
        key, other = create_master_key("lab", root_key="own"), create_master_key("plain")
        rewrap_master_keys("other")
        assert key.versions.get().root_key == "own"
        assert other.versions.get().root_key == "other"
        assert under_other_root_keys("other") == []
        assert rotate_master_key(key).root_key == "own"

    def test_is_where_its_versions_move(self):
        key = create_master_key("lab")
        update_master_key(key, root_key="own")
        assert key.versions.get().root_key == "default"
        [waiting] = [row for row in under_other_root_keys("default") if hasattr(row, "master_key")]
        assert waiting.master_key == key
        assert rewrap_master_keys("default").moved == [waiting]
        assert key.versions.get().root_key == "own"
        update_master_key(key, root_key=None)
        rewrap_master_keys("default")
        assert key.versions.get().root_key == "default"

    def test_that_the_settings_do_not_have(self):
        with pytest.raises(ImproperlyConfigured, match="no root key 'nowhere'"):
            create_master_key("lab", root_key="nowhere")
        with pytest.raises(ImproperlyConfigured, match="no root key 'nowhere'"):
            update_master_key("default", root_key="nowhere")


def test_a_usage_that_is_none():
    with pytest.raises(ValidationError):
        create_master_key("lab", usage="sign")


def _away(*_):
    raise RootKeyUnavailable("the HSM is away")


def _apps():
    from django.apps import apps

    return apps
