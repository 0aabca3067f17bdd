import os

import pytest
from django.db import connection
from django.db.models import QuerySet
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from envelope_fields import audit, keyring, testing
from envelope_fields.crypto import format as layout
from envelope_fields.exceptions import MasterKeyUnusable, WrappedKeyAltered
from envelope_fields.lifecycle import create_master_key
from envelope_fields.models import MasterKey
from envelope_fields.policy import APPLICATION
from tests.models import CompositeKeyed, Hidden, Note, Restaurant, UuidKeyed, converting

pytestmark = pytest.mark.django_db(databases="__all__")


def put(note, value):
    table = connection.ops.quote_name(Note._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {table} SET text = %s WHERE id = %s", [value, note.pk])


def test_settings_make_a_root_key_for_the_run(monkeypatch):
    # Set first, so that what is made here goes with the test.
    monkeypatch.setenv(testing.ROOT_KEY_VARIABLE, "")
    del os.environ[testing.ROOT_KEY_VARIABLE]
    settings = testing.settings(KEY_CACHE_SECONDS=5)
    assert settings["KEY_CACHE_SECONDS"] == 5
    assert settings == testing.settings(KEY_CACHE_SECONDS=5), "workers meet the same key"
    keyring.evict()
    with override_settings(ENVELOPE_FIELDS=settings):
        assert create_master_key("test").current_version.number == 1


def test_stored_bytes():
    note = Note.objects.create(text="héllo", data=None)
    assert layout.parse(testing.stored(note, "text")).payload
    assert len(testing.stored(note, "text")) == 6 + layout.OVERHEAD_BYTES
    assert testing.stored(note, "data") is None
    put(note, b"plain")
    assert testing.stored(note, "text") == b"plain"


def test_stored_bytes_of_every_shape():
    for instance, name in (
        (Restaurant.objects.create(secret="a", menu=[]), "secret"),
        (UuidKeyed.objects.create(text="a"), "text"),
        (CompositeKeyed.objects.create(ward=1, bed=2, text="a"), "text"),
        (QuerySet(Hidden).create(text="a"), "text"),
        (Note.objects.using("other").create(text="a"), "text"),
    ):
        assert len(testing.stored(instance, name)) == 1 + layout.OVERHEAD_BYTES
        testing.assert_encrypted(instance, name)


def test_a_database_can_be_named():
    note = Note.objects.using("other").create(text="a")
    assert testing.stored(note, "text", using="other")
    with pytest.raises(Note.DoesNotExist):
        testing.stored(note, "text", using="default")


def test_encrypted():
    testing.assert_encrypted(Note.objects.create(text="", data={}), "text", "data")


def test_not_encrypted():
    note = Note.objects.create(title="a title", text="a text", data=None)
    with pytest.raises(AssertionError, match=r"tests\.Note\.title is not an encrypted field"):
        testing.assert_encrypted(note, "title")
    with pytest.raises(AssertionError, match=r"tests\.Note\.data: the column holds NULL"):
        testing.assert_encrypted(note, "text", "data")
    with pytest.raises(TypeError):
        testing.assert_encrypted(note)


def test_what_is_there_must_open_for_its_field():
    note = Note.objects.create(text="a text", data={"b": 1})
    put(note, b"a text")
    with pytest.raises(AssertionError, match=r"tests\.Note\.text: not an envelope") as error:
        testing.assert_encrypted(note, "text")
    assert "a text" not in str(error.value)
    put(note, testing.stored(note, "data"))
    with pytest.raises(AssertionError, match=r"tests\.Note\.text"):
        testing.assert_encrypted(note, "text")


@pytest.mark.parametrize("before", [None, "verified"])
def test_phase_of_a_conversion(before):
    field = converting.Visit._meta.get_field("report")
    if before:
        converting.set_phase(converting.Visit, "report", before)
    with testing.conversion_phase("tests.Visit.report", "encrypted"):
        assert field.phase("default") == "encrypted"
    assert field.phase("default") == (before or "clear")
    with pytest.raises(ValueError, match="nonsense"):
        testing.conversion_phase("tests.Visit.report", "nonsense").__enter__()


def test_phase_of_a_field_that_was_converted():
    field = converting.Visit._meta.get_field("report")
    converting.set_phase(converting.Visit, "report", "only")
    with audit.act("default"):
        after = {"field": "tests.Visit.report", "phase": "only"}
        audit.record("change_conversion_phase", actor=APPLICATION, using="default", after=after)
    with testing.conversion_phase("tests.Visit.report", "clear"):
        assert field.phase("default") == "clear"
    assert field.phase("default") == "only"
    converting.set_phase(converting.Visit, "report", "clear")
    with pytest.raises(MasterKeyUnusable, match="brought to only"):
        field.phase("default")


def test_reads_of_keys_are_not_counted(django_assert_num_queries):
    note = Note.objects.create(text="a text")
    evictions = (keyring.evict, keyring.forget, lambda: create_master_key("another"))
    for change in (*evictions, lambda: None):
        change()
        with testing.without_reads_of_keys(), django_assert_num_queries(4):
            found = Note.objects.get(pk=note.pk)
            assert found.text == "a text"
            found.save()
            Note.objects.create(text="another")
            list(MasterKey.objects.all())
    keyring.forget()
    with CaptureQueriesContext(connection) as counted:
        assert Note.objects.get(pk=note.pk).text == "a text"
    assert len(counted) > 1, "what is not in a block counts as ever"
    keyring.forget()
    with django_assert_num_queries(1), testing.without_reads_of_keys():
        assert Note.objects.get(pk=note.pk).text == "a text"


def test_a_database_that_outlives_its_root_key(monkeypatch):
    Note.objects.create(text="a text")
    monkeypatch.setenv(testing.ROOT_KEY_VARIABLE, "")
    del os.environ[testing.ROOT_KEY_VARIABLE]
    asked = pytest.raises(WrappedKeyAltered, match=rf"{testing.ROOT_KEY_VARIABLE} \(a database")
    with override_settings(ENVELOPE_FIELDS=testing.settings()), asked:
        str(Note.objects.get().text)
