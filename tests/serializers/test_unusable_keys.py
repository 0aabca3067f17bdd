"""Envelopes that come in a fixture when their key is about to go: nobody would count them."""

import pytest
from django.core import serializers
from django.db import transaction

from envelope_fields import lifecycle
from envelope_fields.exceptions import MasterKeyUnusable
from envelope_fields.lifecycle import create_master_key, disable, enable, rotate_master_key
from tests.lifecycle import at, bring
from tests.models import TenantNote
from tests.serializers.fixture import dump, load

pytestmark = pytest.mark.django_db(databases="__all__")


@pytest.fixture
def key():
    return create_master_key("tenant")


@pytest.fixture
def fixture():
    """A fixture, and so a revision, of a row that is deleted by now."""
    TenantNote.objects.create(tenant="tenant", text="secret", data=None)
    text = dump("tests.TenantNote")
    TenantNote.objects.all().delete()
    return text


@pytest.mark.parametrize("state", ["pending_deletion", "destroyed"])
class TestRefused:
    def test_under_a_key(self, key, fixture, tmp_path, state):
        bring(key, state)
        with pytest.raises(MasterKeyUnusable) as caught:
            load(tmp_path / "fixture.json", fixture)
        assert "tests.TenantNote.text" in str(caught.value)
        assert state.replace("_", " ") in str(caught.value)
        assert "secret" not in str(caught.value)
        assert not TenantNote.objects.exists()

    def test_under_a_version(self, key, fixture, state):
        rotate_master_key(key)
        bring(key.versions.get(number=1), state)
        [deserialized] = serializers.deserialize("json", fixture)
        with pytest.raises(MasterKeyUnusable, match=r"tests\.TenantNote\.text"):
            deserialized.save()

    def test_in_bulk(self, key, fixture, state):
        bring(key, state)
        rows = [each.object for each in serializers.deserialize("json", fixture)]
        with pytest.raises(MasterKeyUnusable):
            TenantNote.objects.bulk_create(rows)


def test_a_disabled_key_may_be_enabled_again(key, fixture, tmp_path):
    disable(key)
    load(tmp_path / "fixture.json", fixture)
    enable(key)
    assert TenantNote.objects.get().text == "secret"


def test_the_attempt_stops_the_destruction(key, fixture, monkeypatch):
    lifecycle.schedule_deletion(key, 7)
    with pytest.raises(MasterKeyUnusable), transaction.atomic():
        [each.save() for each in serializers.deserialize("json", fixture)]
    at(monkeypatch, days=8)
    assert lifecycle.destroy_due_keys().destroyed == []
