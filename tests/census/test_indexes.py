"""Rows of blind indexes are counted by the last 8 bytes, and keep their search key."""

import json

import pytest
from django.apps.registry import Apps
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import OperationalError, connection, models

from envelope_fields import lifecycle, rotation
from envelope_fields.census import CensusFailed, census, columns
from envelope_fields.census.indexes import index_has_rows
from envelope_fields.databases import database
from envelope_fields.fields import EncryptedTextField
from envelope_fields.fields.index import macs
from envelope_fields.lifecycle import (
    KeyInUse,
    create_master_key,
    destroy_due_keys,
    find_master_key,
    rotate_master_key,
    schedule_deletion,
    shred,
    update_master_key,
)
from envelope_fields.lifecycle.witnesses import KeyPinned
from envelope_fields.models import AuditEvent, BlindIndex, IndexState, KeyUsage, MasterKeyVersion
from tests.keyring.indexed import index, term
from tests.models.indexed import Person
from tests.models.keyed import only

pytestmark = pytest.mark.django_db(databases="__all__")

apps = Apps()


class IndexField(models.BinaryField):
    """The column alone."""

    source_names = ("text",)


class Card(models.Model):
    text = EncryptedTextField(null=True)
    text_index = IndexField(null=True)

    class Meta:
        apps = apps
        app_label = "cards"


def card_index(key="search"):
    return index("cards.card.text_index", key=key, model=Card, column="text_index")


@pytest.fixture(autouse=True)
def table(transactional_db, monkeypatch):
    monkeypatch.setattr(columns, "apps", only(Card))
    with connection.schema_editor() as editor:
        editor.create_model(Card)
    yield
    with connection.schema_editor() as editor:
        editor.delete_model(Card)


def add(*forms, key="search", text="a"):
    for form in forms:
        made = macs.index_value(card_index(key), key, term(form), "default")
        Card.objects.create(text=text, text_index=made)


def counts():
    return {
        (row.field, row.version and (row.version.key_alias, row.version.number)): row.values
        for row in census()
    }


def test_they_are_counted():
    add(b"a", b"b", b"b")
    Card.objects.create(text="not in the index")
    rotate_master_key("search")
    add(b"c")
    Card.objects.create(text_index=b"\x00" * 24)
    assert counts() == {
        ("text", ("default", 1)): 5,
        ("text_index", ("search", 1)): 4,
        ("text_index", None): 1,
    }
    assert {row.field: row.is_index for row in census()} == {"text": False, "text_index": True}
    assert sum(row.values for row in census("search")) == 4


def test_the_command_shows_them(capsys):
    add(b"a")
    call_command("census", json=True)
    [_, row] = json.loads(capsys.readouterr().out)["rows"]
    assert (row["field"], row["key"], row["values"], row["is_index"]) == (
        "text_index",
        "search",
        1,
        True,
    )


def test_no_rotation_moves_them():
    add(b"a")
    before = bytes(Card.objects.get().text_index)
    rotate_master_key("search")
    assert [key.alias for key in rotation.scope.keys_with_work("rewrap")] == []
    with pytest.raises(columns.NoSuchField):
        rotation.scope.declared_columns(["cards.Card.text_index"])
    assert bytes(Card.objects.get().text_index) == before


class TestDeletion:
    def test_with_rows(self):
        add(b"a")
        key = find_master_key("search")
        with pytest.raises(KeyInUse, match=r"cards\.Card\.text_index in the database 'default'"):
            schedule_deletion(key)
        key.refresh_from_db()
        assert key.state == "enabled"

    def test_with_an_index_that_is_pinned_to_it(self):
        add(b"a")
        Card.objects.all().delete()
        with pytest.raises(KeyPinned, match=r"cards\.card\.text_index"):
            schedule_deletion("search", confirm="search")
        rotate_master_key("search")
        version = MasterKeyVersion.objects.get(master_key__alias="search", number=1)
        with pytest.raises(KeyPinned, match=r"cards\.card\.text_index"):
            schedule_deletion(version)

    def test_with_an_index_that_is_retired(self):
        add(b"a")
        Card.objects.all().delete()
        BlindIndex.objects.update(state=IndexState.RETIRED)
        with pytest.raises(lifecycle.ConfirmationRequired) as required:
            schedule_deletion("search", confirm="x")
        assert schedule_deletion("search", confirm=required.value.expected)
        assert not destroy_due_keys().destroyed

    def test_of_another_version(self):
        add(b"a")
        rotate_master_key("search")
        rotate_master_key("search")
        version = MasterKeyVersion.objects.get(master_key__alias="search", number=2)
        assert schedule_deletion(version)


def test_shredding_says_which_lookups_end(settings):
    settings.ENVELOPE_FIELDS = {**settings.ENVELOPE_FIELDS, "KEY_CACHE_SECONDS": 0}
    add(b"a")
    agreed = lifecycle.shred_confirmation("search")
    assert agreed.lookups == ("cards.Card.text_index",)
    certificate = shred("search", confirm=agreed)
    assert certificate.lookups == agreed.lookups
    said = str(certificate)
    assert "Lookups that end, with the uniqueness that they keep: by cards.Card.text_index" in said
    assert AuditEvent.objects.get(action="shred").after["lookups"] == ["cards.Card.text_index"]
    assert lifecycle.shred_confirmation("default").lookups == ()


def test_a_rotation_period():
    with pytest.raises(ValidationError, match="takes no rotation period"):
        create_master_key("search", usage=KeyUsage.GENERATE_VERIFY_MAC, rotation_period=365)
    key = create_master_key("search", usage=KeyUsage.GENERATE_VERIFY_MAC)
    with pytest.raises(ValidationError, match="takes no rotation period"):
        update_master_key(key, rotation_period=365)


def test_a_database_that_does_not_say_whether_there_are_rows(monkeypatch):
    def fails(*_):
        raise OperationalError("it went away")

    monkeypatch.setattr(type(database("default")), "seeing_all_rows", fails)
    with pytest.raises(CensusFailed, match=r"has rows could not be asked .* Is it reachable, and"):
        index_has_rows(Person._meta.get_field("email_index"))
