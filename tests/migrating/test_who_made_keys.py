"""Migration 0009: who made the keys that are there is what the audit trail says."""

import pytest
from django.db import connections, transaction

from envelope_fields import audit, keyring
from envelope_fields.checks.keys import check_aliases
from envelope_fields.exceptions import MasterKeyUnusable
from envelope_fields.lifecycle import create_master_key, rotate_master_key
from envelope_fields.models import MasterKey, MasterKeyVersion
from envelope_fields.policy import Principal


def test_there_and_back(project):
    project.migrate()
    theirs, _ = create_master_key("theirs"), create_master_key("ours")
    ann = Principal("auth.user", "7", "ann")
    with transaction.atomic("scratch"):
        audit.record("create_key", actor=ann, using="scratch", key=theirs, after={})
    project.migrate("envelope_fields", "0007")
    keyring.evict()
    for alias in ("default", "ours", "theirs"):  # values are written while later ones are applied
        assert keyring.derived.wrapping_key(alias, "scratch", "a.b.c")
    assert "envelope_fields.W008" not in {message.id for message in check_aliases(["scratch"])}
    project.migrate()
    keyring.evict()
    rows = MasterKey.objects.using("scratch").order_by("alias")
    assert list(rows.values_list("alias", "creator_type", "creator_id", "serves_fields")) == [
        ("default", "application", "", True),
        ("ours", "application", "", True),
        ("theirs", "auth.user", "7", False),
    ]
    assert keyring.derived.wrapping_key("ours", "scratch", "a.b.c")
    with pytest.raises(MasterKeyUnusable, match="adopt_master_key theirs"):
        keyring.derived.wrapping_key("theirs", "scratch", "a.b.c")


def test_versions_that_are_there_were_opened_when_they_were_made(project):
    """Migration 0011: until then none was stored that its root key did not open."""
    project.migrate()
    rotate_master_key(create_master_key("ours"))
    project.migrate("envelope_fields", "0010")
    keyring.evict()
    with transaction.atomic("scratch"):
        assert keyring.derived.wrapping_key("ours", "scratch", "a.b.c")
    project.migrate()
    keyring.evict()
    versions = MasterKeyVersion.objects.using("scratch")
    assert versions.count() == 3
    assert all(version.opened_at == version.created_at for version in versions)
    current = MasterKey.objects.using("scratch").get(alias="ours").current_version
    header = keyring.derived.wrapping_key("ours", "scratch", "a.b.c").header
    assert (current.number, header[1:]) == (2, bytes(current.version_id))


def test_a_process_of_an_earlier_release_can_make_keys(project):
    """Its statements know none of the new columns; the database fills them."""
    project.migrate()
    ours = create_master_key("ours")
    names = [
        field.column
        for field in MasterKey._meta.concrete_fields
        if field.attname not in ("id", "alias", "creator_type", "creator_id", "serves_fields")
    ]
    columns = ", ".join(connections["scratch"].ops.quote_name(name) for name in names)
    table = MasterKey._meta.db_table
    with connections["scratch"].cursor() as cursor:
        cursor.execute(f"SELECT id FROM {table} WHERE alias = 'ours'")
        ((ours_id,),) = cursor.fetchall()
        cursor.execute(
            f"INSERT INTO {table} (id, alias, {columns}) "
            f"SELECT %s, 'older', {columns} FROM {table} WHERE id = %s",
            ["0" * 32, ours_id],
        )
    older = MasterKey.objects.using("scratch").get(alias="older")
    assert (older.creator_type, older.serves_fields) == ("application", True)
    assert older.state == ours.state
