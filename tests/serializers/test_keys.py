"""Key rows in fixtures: a copy of the keys, or of a whole database."""

import base64
import logging

import pytest
from django.core import serializers

from envelope_fields import audit
from envelope_fields.key_fixtures import OtherAuditTrail, OtherRotations, VersionNotInFixture
from envelope_fields.lifecycle import AliasTaken, create_master_key, rotate_master_key, shred
from envelope_fields.models import (
    AuditEvent,
    KeyGrant,
    KeyUse,
    MasterKey,
    MasterKeyVersion,
    RotationColumn,
    RotationRun,
)
from tests.models import Note
from tests.serializers.fixture import FORMATS, dump, load, row, rows
from tests.stored import stored, version_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def fixture(tmp_path):
    return tmp_path / "fixture.json"


def remove_everything():
    """As in a database that was just migrated, its default key another one."""
    Note.objects.all().delete()
    MasterKeyVersion.objects.all()._raw_delete("default")
    MasterKey.objects.all()._raw_delete("default")
    return create_master_key("default")


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    "labels", [("tests.Note", "envelope_fields"), ("envelope_fields", "tests.Note")]
)
def test_a_database_moves_with_its_keys(tmp_path, format, labels, caplog):
    """Keys before or behind the values, and beside the default key that `migrate` made."""
    Note.objects.create(text="old version")
    rotate_master_key("default")
    Note.objects.create(text="new version")
    text = dump(*labels, format=format)
    made_by_migrate = remove_everything()
    with caplog.at_level(logging.WARNING):
        load(tmp_path / f"fixture.{format}", text)
    assert "the one that was there is now" in caplog.text
    assert set(Note.objects.values_list("text", flat=True)) == {"old version", "new version"}
    made_by_migrate.refresh_from_db()
    assert made_by_migrate.alias == f"default/{made_by_migrate.pk}"
    default = MasterKey.objects.get(alias="default")
    assert set(default.versions.values_list("number", flat=True)) == {1, 2}
    current = bytes(default.current_version.version_id)
    assert version_of(stored(Note.objects.create(text="x"), "text")) == current


def test_values_under_the_key_that_made_room_stay_readable(fixture):
    keys = dump("envelope_fields")
    remove_everything()
    Note.objects.create(text="under the new default key")
    load(fixture, keys)
    assert Note.objects.get().text == "under the new default key"


def test_another_version_is_not_overwritten(fixture):
    """Rows of versions are numbered by each database; a version is what its id says."""
    keys = dump("envelope_fields")
    there = remove_everything().current_version
    taken = MasterKeyVersion.objects.get().pk
    loaded = [d.object for d in serializers.deserialize("json", keys)]
    (version,) = [o for o in loaded if isinstance(o, MasterKeyVersion)]
    load(fixture, keys.replace(f'"pk": {version.pk},', f'"pk": {taken},'))
    assert MasterKeyVersion.objects.count() == 2
    assert MasterKeyVersion.objects.get(pk=taken).version_id == there.version_id


def test_a_version_that_is_there_keeps_its_wrapping(fixture):
    version = MasterKeyVersion.objects.get()
    keys = dump("envelope_fields")
    MasterKeyVersion.objects.update(wrapped_material=b"by another root key", root_key="second")
    load(fixture, keys)
    version.refresh_from_db()
    assert bytes(version.wrapped_material) == b"by another root key"
    assert version.root_key == "second"


@pytest.mark.django_db(databases="__all__")
def test_what_was_destroyed_stays_destroyed(fixture, settings, caplog):
    """Somebody has certified that it is gone."""
    settings.ENVELOPE_FIELDS = {**settings.ENVELOPE_FIELDS, "KEY_CACHE_SECONDS": 0}
    whole, part = create_master_key("whole"), create_master_key("part")
    rotate_master_key("part")
    keys = dump("envelope_fields.MasterKey", "envelope_fields.MasterKeyVersion")
    for target in (whole, part.versions.get(number=1)):
        shred(target)
    create_master_key("whole")
    with caplog.at_level(logging.WARNING):
        load(fixture, keys)
    assert caplog.text.count("It stays destroyed") == 3  # a key and two versions
    whole.refresh_from_db()
    assert (whole.state, whole.alias) == ("destroyed", None)
    assert whole.destroyed_at is not None
    for version in (whole.versions.get(), part.versions.get(number=1)):
        assert (version.state, bytes(version.wrapped_material)) == ("destroyed", b"")
    assert part.versions.get(number=2).state == "enabled"


def test_loading_twice(fixture):
    Note.objects.create(text="a")
    text = dump("tests.Note", "envelope_fields")
    for _ in range(2):
        load(fixture, text)
    assert Note.objects.get().text == "a"
    assert MasterKeyVersion.objects.count() == 1


def test_an_alias_that_another_key_has(fixture):
    key = create_master_key("lab")
    other = "00000000-0000-4000-8000-000000000000"
    with pytest.raises(AliasTaken, match=f"a master key {other} with the alias 'lab', which"):
        load(fixture, rows(row("envelope_fields.masterkey", other, alias="lab")))
    assert MasterKey.objects.get(alias="lab") == key


def test_a_key_without_an_alias(fixture):
    other = "00000000-0000-4000-8000-000000000000"
    for _ in range(2):
        load(fixture, rows(row("envelope_fields.masterkey", other, alias=None, state="destroyed")))
    assert MasterKey.objects.get(pk=other).alias is None


@pytest.mark.django_db(databases=["default", "other"])
def test_into_another_database(fixture):
    load(fixture, dump("envelope_fields"), database="other")
    assert MasterKey.objects.using("other").get() == MasterKey.objects.get()
    assert MasterKeyVersion.objects.using("other").count() == 1


@pytest.mark.parametrize("format", FORMATS)
def test_the_trail_goes_with_them(tmp_path, format):
    """Where it is loaded again, nothing changes, and what came since stays."""
    rotate_master_key("default")
    text = dump("envelope_fields", format=format)
    create_master_key("later")
    before = audit.head()
    load(tmp_path / f"fixture.{format}", text)
    assert audit.head() == before
    rotate_master_key("later")
    assert audit.verify(before).intact


def test_another_trail_is_refused(fixture):
    rotate_master_key("default")
    text = dump("envelope_fields.AuditEvent")
    mac = bytes(AuditEvent.objects.get(number=1).mac)
    other = base64.b64encode(bytes([mac[0] ^ 1, *mac[1:]])).decode()
    assert base64.b64encode(mac).decode() in text
    with pytest.raises(OtherAuditTrail, match="--exclude"):
        load(fixture, text.replace(base64.b64encode(mac).decode(), other))
    assert audit.verify().intact


class TestNumbersOfRows:
    """Rows that each database numbers by itself do not take the place of others."""

    DAY = {"day": "2026-11-28", "action": "decrypt", "door": "kms", "uses": 3}

    def test_uses_of_a_version_that_is_not_in_the_fixture(self, fixture):
        version = MasterKeyVersion.objects.get()
        use = row("envelope_fields.keyuse", 1, version=version.pk + 1000, **self.DAY)
        with pytest.raises(VersionNotInFixture, match=r"envelope_fields\.MasterKeyVersion into"):
            load(fixture, rows(use))

    def test_fewer_uses_than_there_are(self, fixture):
        version = MasterKeyVersion.objects.get()
        use = KeyUse.objects.create(version=version, **self.DAY)
        text = dump("envelope_fields.MasterKeyVersion", "envelope_fields.KeyUse")
        KeyUse.objects.update(uses=7)
        load(fixture, text)
        use.refresh_from_db()
        assert (KeyUse.objects.count(), use.uses) == (1, 7)

    def test_a_grant_of_another(self, fixture):
        grant = KeyGrant(principal_type="auth.user", principal_id="1", actions=["decrypt"])
        grant.master_key = MasterKey.objects.get()
        grant.save()
        text = dump("envelope_fields.KeyGrant")
        KeyGrant.objects.filter(pk=grant.pk).update(principal_id="2")
        load(fixture, text)
        load(fixture, text)
        assert sorted(KeyGrant.objects.values_list("principal_id", flat=True)) == ["1", "2"]

    def test_another_rotation(self, fixture):
        runs = [
            RotationRun.objects.create(kind="rewrap", master_key=MasterKey.objects.get())
            for _ in range(2)
        ]
        place = RotationColumn.objects.create(run=runs[0], database="default", model="a.B")
        text = dump("envelope_fields.RotationColumn")
        load(fixture, text)
        RotationColumn.objects.filter(pk=place.pk).update(run=runs[1])
        with pytest.raises(OtherRotations, match="place of a rotation"):
            load(fixture, text)
