"""Lifecycle: who becomes what, when, and what is refused."""

import uuid
from functools import partial

import pytest
from django.core.exceptions import ValidationError
from django.db import DataError, IntegrityError, OperationalError, transaction
from django.db.models import ProtectedError

from envelope_fields.exceptions import EnvelopeError, MasterKeyNotFound, MasterKeyUnusable
from envelope_fields.lifecycle import (
    AliasTaken,
    create_master_key,
    disable,
    enable,
    rotate_master_key,
)
from envelope_fields.lifecycle.keys import Refused
from envelope_fields.models import MasterKey, MasterKeyVersion
from tests.at_once import at_once
from tests.models import TenantNote
from tests.stored import stored, version_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def key():
    return create_master_key("tenant", description="of a tenant")


def test_migrate_made_the_default_key():
    key = MasterKey.objects.get(alias="default")
    assert key.state == "enabled"
    assert key.current_version.number == 1


def test_create(key):
    key.refresh_from_db()
    assert (key.alias, key.description, key.state) == ("tenant", "of a tenant", "enabled")
    version = key.current_version
    assert (version.number, version.state, version.root_key) == (1, "enabled", "default")
    assert len(bytes(version.version_id)) == 8
    assert len(bytes(version.wrapped_material)) == 1 + 24 + 32 + 16


@pytest.mark.parametrize("alias", ["", " x", "x y", "é", "-x", "x" * 201, "x\n", "a'b", None])
def test_bad_aliases_are_refused(alias):
    with pytest.raises(ValidationError):
        create_master_key(alias)
    assert MasterKey.objects.count() == 1


@pytest.mark.parametrize("alias", ["a", "A", "tenant/7", "t:7", "a@b.c", "x" * 200, "0-_."])
def test_good_aliases(alias):
    assert create_master_key(alias).alias == alias


def test_an_alias_is_taken_once(key):
    with pytest.raises(AliasTaken, match="'tenant'"):
        create_master_key("tenant")
    assert MasterKey.objects.filter(alias="tenant").count() == 1


def test_rotate(key):
    for number, what in enumerate((key, key.id, "tenant"), start=2):
        version = rotate_master_key(what)
        assert version.number == number
        assert key.current_version == version
    assert len({bytes(version.version_id) for version in key.versions.all()}) == 4
    assert len({bytes(version.wrapped_material) for version in key.versions.all()}) == 4


@pytest.mark.parametrize("what", ["nobody", uuid.uuid4(), MasterKey(alias="unsaved"), "TENANT"])
def test_unknown_keys(key, what):
    for act in (rotate_master_key, enable, disable):
        with pytest.raises(MasterKeyNotFound):
            act(what)


def test_what_is_no_key_at_all(key):
    for act in (rotate_master_key, enable, disable):
        for what in (None, 5, [key]):
            with pytest.raises(TypeError):
                act(what)


def test_disable_and_enable_a_key(key):
    note = TenantNote.objects.create(tenant="tenant", text="value")
    for _ in range(2):  # twice is once
        disable(key)
        assert key.state == "disabled"
        with pytest.raises(MasterKeyUnusable, match=r"because its key is disabled\. Enable it"):
            _ = TenantNote.objects.get(pk=note.pk).text
        with pytest.raises(MasterKeyUnusable), transaction.atomic():
            note.save()
        with pytest.raises(MasterKeyUnusable, match="Cannot rotate"):
            rotate_master_key(key)
    for _ in range(2):
        enable("tenant")
        assert TenantNote.objects.get(pk=note.pk).text == "value"


def test_disable_and_enable_a_version(key):
    note = TenantNote.objects.create(tenant="tenant", text="old")
    old = key.current_version
    with pytest.raises(MasterKeyUnusable, match="current"):
        disable(old)
    rotate_master_key(key)
    disable(old)
    assert old.state == "disabled"
    with pytest.raises(MasterKeyUnusable, match="its version is disabled"):
        _ = TenantNote.objects.get(pk=note.pk).text
    new = TenantNote.objects.create(tenant="tenant", text="new")
    assert version_of(stored(new, "text")) == bytes(key.current_version.version_id)
    enable(old)
    assert TenantNote.objects.get(pk=note.pk).text == "old"
    with pytest.raises(MasterKeyNotFound):
        enable(MasterKeyVersion(master_key=key, version_id=b"12345678", number=9))


@pytest.mark.parametrize("state", ["pending_deletion", "destroyed"])
def test_states_that_lifecycle_does_not_leave(key, state):
    MasterKey.objects.filter(pk=key.pk).update(state=state)
    for act in (enable, disable, rotate_master_key):
        with pytest.raises(MasterKeyUnusable):
            act(key)
    with pytest.raises(MasterKeyUnusable), transaction.atomic():
        TenantNote.objects.create(tenant="tenant", text="value")
    assert MasterKey.objects.get(pk=key.pk).state == state


def test_values_are_written_under_the_highest_number_alone(key):
    for _ in range(3):
        version = rotate_master_key(key)
        note = TenantNote.objects.create(tenant="tenant", text="value")
        assert version_of(stored(note, "text")) == bytes(version.version_id)


@pytest.mark.parametrize(
    "delete",
    [
        lambda key: key.delete(),
        lambda key: MasterKey.objects.filter(pk=key.pk).delete(),
        lambda key: key.current_version.delete(),
        lambda key: key.versions.all().delete(),
        lambda key: MasterKeyVersion.objects.all().delete(),
    ],
)
def test_key_rows_refuse_deletion(key, delete):
    for error in (EnvelopeError, ProtectedError):
        with pytest.raises(error, match=r"disable\(\)"), transaction.atomic():
            delete(key)
    assert key.versions.count() == 1


def test_version_ids_and_numbers_are_unique(key):
    version = key.current_version
    for changed in ({"version_id": b"other id"}, {"number": 7}):
        twin = MasterKeyVersion(
            master_key=key,
            version_id=changed.get("version_id", bytes(version.version_id)),
            number=changed.get("number", version.number),
            wrapped_material=b"",
            root_key="default",
        )
        with pytest.raises(IntegrityError), transaction.atomic():
            twin.save()


@pytest.mark.django_db(transaction=True)
def test_keys_made_at_once():
    aliases = ("one", "two", "same", "same")
    outcomes = at_once(*(partial(create_master_key, alias) for alias in aliases))
    assert sorted(getattr(each, "alias", type(each).__name__) for each in outcomes) == [
        "AliasTaken", "one", "same", "two",
    ]  # fmt: skip
    assert MasterKeyVersion.objects.count() == 4


@pytest.mark.django_db(transaction=True)
def test_rotations_at_once_end_in_a_serial_outcome():
    key = create_master_key("busy")
    outcomes = at_once(*[partial(rotate_master_key, key)] * 4)
    assert sorted(version.number for version in outcomes) == [2, 3, 4, 5]
    assert [version.number for version in key.versions.order_by("number")] == [1, 2, 3, 4, 5]


def test_what_the_database_refused_for_one_of_many_says_what_to_do(key):
    lost = str(Refused(key, OperationalError("terminating connection")))
    assert (
        "the master key tenant: The database refused (OperationalError: terminating connection). "
        in lost
    )
    assert "reachable" in lost
    assert "what was read" not in str(Refused(key, DataError("what was read")))
