"""Automatic rotation, what a key says of itself, and aliases."""

from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError

from envelope_fields.exceptions import KeyAccessDenied, MasterKeyNotFound, MasterKeyUnusable
from envelope_fields.lifecycle import (
    create_master_key,
    disable,
    move_alias,
    next_rotation,
    rotate_due_keys,
    update_master_key,
)
from envelope_fields.models import AuditEvent, KeyGrant, MasterKey
from tests.lifecycle import at, key_in
from tests.models import TenantNote

pytestmark = pytest.mark.django_db(databases="__all__")


class TestRotation:
    def test_after_its_period(self, monkeypatch):
        key = create_master_key("tenant", rotation_period=90)
        assert next_rotation(key) == key.current_version.created_at + timedelta(days=90)
        at(monkeypatch, days=89)
        assert rotate_due_keys().rotated == []
        at(monkeypatch, days=2)
        assert [version.number for version in rotate_due_keys().rotated] == [2]
        assert rotate_due_keys().rotated == []

    def test_without_a_period(self, monkeypatch):
        key = key_in("enabled")
        assert next_rotation(key) is None
        at(monkeypatch, days=4000)
        assert rotate_due_keys().rotated == []

    def test_a_disabled_one_is_reported(self, monkeypatch):
        create_master_key("other", rotation_period=90)
        disable(create_master_key("tenant", rotation_period=90))
        at(monkeypatch, days=91)
        done = rotate_due_keys()
        assert [str(version.master_key) for version in done.rotated] == ["other"]
        assert [str(each.row) for each in done.refused] == ["tenant"]
        assert "disabled" in str(done.refused[0])

    @pytest.mark.parametrize("period", [0, 89, 2561, -1, "x"])
    def test_another_period(self, period):
        with pytest.raises(ValidationError):
            create_master_key("tenant", rotation_period=period)
        key = key_in("enabled")
        with pytest.raises(ValidationError):
            update_master_key(key, rotation_period=period)


class TestUpdate:
    def test_what_is_left_out_stays(self):
        key = create_master_key("tenant", description="a", rotation_period=90)
        update_master_key(key, description="b")
        key.refresh_from_db()
        assert (key.description, key.rotation_period, key.application_use) == ("b", 90, True)
        event = AuditEvent.objects.latest("number")
        assert (event.before, event.after) == ({"description": "a"}, {"description": "b"})

    def test_nothing_new_is_no_event(self):
        key = create_master_key("tenant", description="a")
        events = AuditEvent.objects.count()
        update_master_key(key, description="a")
        assert AuditEvent.objects.count() == events

    def test_without_the_application(self):
        key = key_in("enabled")
        TenantNote.objects.create(tenant="tenant", text="a")
        update_master_key(key, application_use=False)
        with pytest.raises(KeyAccessDenied):
            _ = TenantNote.objects.get().text
        update_master_key(key, application_use=True)
        assert TenantNote.objects.get().text == "a"


class TestAliases:
    def test_moved_to_another_key(self):
        old, new = key_in("enabled", "tenant"), key_in("enabled", "new")
        before = TenantNote.objects.create(tenant="tenant", text="a")
        move_alias("tenant", new)
        old.refresh_from_db()
        assert (old.alias, new.alias) == (None, "tenant")
        after = TenantNote.objects.create(tenant="tenant", text="b")
        for note, text in ((before, "a"), (after, "b")):
            note.refresh_from_db()
            assert note.text == text
        with pytest.raises(MasterKeyNotFound):
            move_alias("x", "new")

    def test_not_to_one_that_is_going(self):
        key = key_in("pending_deletion", "going")
        key_in("enabled", "tenant")
        with pytest.raises(MasterKeyUnusable):
            move_alias("tenant", key)
        assert MasterKey.objects.get(alias="tenant").state == "enabled"

    def test_no_alias(self):
        key = key_in("enabled")
        with pytest.raises(ValidationError):
            move_alias("not an alias", key)


class TestActors:
    @pytest.fixture
    def user(self, django_user_model):
        return django_user_model.objects.create_user("olga")

    def test_who_makes_a_key_may_do_everything_with_it(self, user):
        key = create_master_key("tenant", actor=user)
        disable(key, actor=user)
        grant = KeyGrant.objects.get(master_key=key)
        assert (grant.principal_id, "rotate" in grant.actions) == (str(user.pk), True)

    def test_nobody_else_may(self, user):
        key = key_in("enabled")
        with pytest.raises(KeyAccessDenied):
            disable(key, actor=user)
        key.refresh_from_db()
        assert key.state == "enabled"
        denied = AuditEvent.objects.get(outcome="denied")
        assert (denied.action, denied.actor_name) == ("disable", "olga")
