"""Commands run in `public`, where a tenant's tables are not found; they see them all the same."""

import json
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connection
from django_tenants.utils import schema_context

from envelope_fields import keyring
from envelope_fields.census import census, not_counted
from envelope_fields.lifecycle import (
    KeyInUse,
    create_master_key,
    find_master_key,
    rotate_master_key,
    schedule_deletion,
)
from envelope_fields.models import MasterKey
from envelope_fields.rotation import RotationState, run
from tests.neighbours.schemas.clinic.models import Note
from tests.neighbours.schemas.models import Tenant

pytestmark = pytest.mark.django_db


@pytest.fixture
def tenants():
    return [Tenant.objects.create(schema_name=name) for name in ("acme", "corp")]


@pytest.fixture
def notes(tenants):
    for name in ("acme", "corp"):
        create_master_key(f"tenant/{name}")
        with schema_context(name):
            Note.objects.create(text=f"of {name}", own=f"own of {name}")
    return tenants


def counts(key=None):
    return {
        (row.schema, row.field, row.version.key_alias, row.version.number): row.values
        for row in census(key)
        if row.field != "added"
    }


def test_each_schema_is_counted_and_named(notes):
    Tenant.objects.filter(schema_name="acme").update(contract="signed")
    assert counts() == {
        ("public", "contract", "default", 1): 2,
        ("acme", "text", "default", 1): 1,
        ("corp", "text", "default", 1): 1,
        ("acme", "own", "tenant/acme", 1): 1,
        ("corp", "own", "tenant/corp", 1): 1,
    }
    with schema_context("acme"):
        assert ("corp", "text", "default", 1) in counts(), "from wherever it is counted"
    assert not_counted() == []


def test_one_tenant_is_named_too():
    Tenant.objects.create(schema_name="acme")
    create_master_key("tenant/acme")
    with schema_context("acme"):
        Note.objects.create(text="a", own="b")
    assert {row.schema for row in census("tenant/acme")} == {"acme"}


def test_without_a_tenant_the_declared_table_is_nowhere():
    assert {each.location for each in not_counted()} == {
        "clinic_note.text", "clinic_note.added", "clinic_note.own"
    }  # fmt: skip


def test_a_key_with_values_of_a_tenant_is_not_deleted(notes):
    with pytest.raises(KeyInUse, match=r"clinic\.Note\.own in the schema 'corp' of the database"):
        schedule_deletion("tenant/corp")
    assert MasterKey.objects.get(alias="tenant/corp").state == "enabled"
    with schema_context("corp"):
        Note.objects.all().delete()
    schedule_deletion("tenant/corp")


def test_values_of_tenants_are_rewrapped_and_verified(notes):
    rotate_master_key("default")
    rotate_master_key("tenant/acme")
    out = StringIO()
    call_command("rewrap", "--json", stdout=out)
    assert {each["state"] for each in json.loads(out.getvalue())} == {"completed"}
    assert {(schema, number) for schema, field, _, number in counts() if field == "own"} == {
        ("acme", 2), ("corp", 1)
    }  # fmt: skip
    assert {(schema, number) for schema, field, _, number in counts() if field == "text"} == {
        ("acme", 2), ("corp", 2)
    }  # fmt: skip
    out = StringIO()
    call_command("verify_envelopes", stdout=out)
    assert out.getvalue() == "Values read: 8 of 8.\n"  # six of notes, and two contracts


def test_a_key_that_is_named_by_the_schema_is_that_of_the_tenant(notes):
    version = find_master_key("tenant/acme").current_version
    rotate_master_key("tenant/acme")
    done = run("tenant/acme", kind="re_encrypt")
    assert done.state == RotationState.COMPLETED
    assert census(version) == []
    assert ("acme", "own", "tenant/acme", 2) in counts()
    assert connection.schema_name == "public"
    keyring.evict()
    with schema_context("acme"):
        assert [note.own for note in Note.objects.all()] == ["own of acme"]


def test_a_migration_encrypts_defaults_in_each_schema(notes):
    for name in ("acme", "corp"):
        call_command("migrate_schemas", "clinic", "0001", schema_name=name, verbosity=0)
        call_command("migrate_schemas", "clinic", schema_name=name, verbosity=0)
        connection.set_schema_to_public()
        with schema_context(name):
            assert [note.added for note in Note.objects.all()] == ["added"]
    assert {row.schema for row in census() if row.field == "added"} == {"acme", "corp"}


def test_a_dropped_tenant_holds_nothing(notes):
    notes[1].auto_drop_schema = True
    notes[1].delete()
    assert {row.schema for row in census("tenant/acme")} == {"acme"}
    assert census("tenant/corp") == []
