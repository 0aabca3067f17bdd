"""The key `default` where no signal comes after a flush: made when a field needs it."""

import unittest

import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.test import TransactionTestCase, override_settings

from envelope_fields import keyring
from envelope_fields.exceptions import MasterKeyNotFound, MasterKeyUnusable
from envelope_fields.models import AuditEvent, MasterKey, MasterKeyVersion
from tests.models import Note
from tests.stored import stored, version_of


@pytest.fixture
def flushed(transactional_db):
    call_command("flush", interactive=False, verbosity=0, inhibit_post_migrate=True)
    keyring.evict()
    assert not MasterKey.objects.exists()


def assert_that_it_serves():
    note = Note.objects.create(text="a")
    assert Note.objects.get(pk=note.pk).text == "a"
    version = MasterKeyVersion.objects.get(master_key__alias="default")
    assert version_of(stored(note, "text")) == bytes(version.version_id)


def test_it_is_made_by_the_application(flushed):
    assert_that_it_serves()
    assert MasterKey.objects.get().managed_by == "application"
    event = AuditEvent.objects.get()
    assert (event.action, event.actor_type) == ("create_key", "application")


def test_reading_makes_none(flushed):
    with pytest.raises(MasterKeyNotFound):
        keyring.values.wrapping_key("default", "default")
    assert not Note.objects.exists()
    assert not MasterKey.objects.exists()


def test_in_a_transaction_that_is_rolled_back(flushed):
    with transaction.atomic():
        Note.objects.create(text="a")
        transaction.set_rollback(True)
    assert not Note.objects.exists()
    assert_that_it_serves()
    assert MasterKey.objects.count() == 1


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
def test_a_value_that_would_outlive_it(flushed):
    """The key belongs to this transaction, and the value to another database."""
    if connection.vendor != "sqlite":
        pytest.skip("it is committed on a connection of its own")
    with transaction.atomic(), pytest.raises(MasterKeyUnusable, match=r"manage\.py migrate"):
        Note.objects.using("other").create(text="a")
    assert not Note.objects.using("other").exists()


class FewApps(TransactionTestCase):
    """Its flush sends no signal, and other tests come after it."""

    __test__ = False  # not one of pytest's: a test below runs it
    available_apps = ("envelope_fields", "tests")

    def test(self):
        assert_that_it_serves()


class Restored(TransactionTestCase):
    __test__ = False
    serialized_rollback = True

    def test(self):
        assert_that_it_serves()


def run(test_case):
    result = unittest.TestResult()
    unittest.TestSuite([test_case("test")]).run(result)
    assert result.testsRun == 1
    assert not result.errors + result.failures, result


def test_available_apps(transactional_db):
    Note.objects.create(text="a key that is known before")
    for _ in range(2):
        run(FewApps)
        assert not MasterKey.objects.exists()
    assert_that_it_serves()


@override_settings(MIGRATION_MODULES={"tests": "tests.fixtures.migrated"})
def test_serialized_rollback(transactional_db, monkeypatch):
    content = connection.creation.serialize_db_to_string()
    monkeypatch.setattr(connection, "_test_serialized_contents", content, raising=False)
    call_command("flush", interactive=False, verbosity=0, inhibit_post_migrate=True)
    for _ in range(2):
        run(Restored)
        assert not MasterKey.objects.exists()
    keyring.evict()  # no signal says that the rows are gone
    assert_that_it_serves()
