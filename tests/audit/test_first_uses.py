"""Uses by kms are in the database before anything is returned, whatever becomes of the process."""

import multiprocessing
import os
import signal
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor

import pytest
from django.db import DatabaseError, InterfaceError, connection, connections, transaction
from django.test.testcases import DatabaseOperationForbidden

from envelope_fields import keyring, kms
from envelope_fields.audit import uses as key_uses
from envelope_fields.exceptions import MasterKeyUnusable
from envelope_fields.lifecycle import create_master_key, disable
from envelope_fields.models import KeyUse
from tests import child
from tests.at_once import at_once

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def key():
    return create_master_key("files")


def used():
    """Return by what the uses are that the database knows of by now."""
    return set(KeyUse.objects.filter(used_at__isnull=False).values_list("action", "channel"))


class TestBeforeItIsReturned:
    def test_by_every_operation(self, key):
        for number, use in enumerate(
            (
                lambda: kms.encrypt("files", b"a", {}),
                lambda: kms.generate_data_key("files", {}),
                lambda: kms.generate_data_key_without_plaintext("files", {}),
            )
        ):
            forget()
            KeyUse.objects.all().delete()
            use()
            assert {channel for _, channel in used()} == {"kms"}, number

    def test_a_decryption(self, key):
        ciphertext = kms.encrypt("files", b"a", {})
        forget()
        KeyUse.objects.all().delete()
        kms.decrypt(ciphertext, {})
        assert used() == {("decrypt", "kms")}

    def test_once_a_day_for_each_version(self, key, django_assert_num_queries):
        kms.encrypt("files", b"a", {})
        with django_assert_num_queries(0):
            kms.encrypt("files", b"a", {})

    def test_again_on_the_next_day(self, key, monkeypatch):
        kms.encrypt("files", b"a", {})
        KeyUse.objects.all().delete()
        tomorrow = key_uses.time() + 86_400
        monkeypatch.setattr(key_uses, "time", lambda: tomorrow)
        kms.encrypt("files", b"a", {})
        assert used() == {("encrypt", "kms")}

    def test_nothing_is_given_out_where_it_cannot_be_recorded(self, key, monkeypatch):
        def fail(*_):
            raise DatabaseError("no")

        with monkeypatch.context() as patch:
            patch.setattr(key_uses, "write", fail)
            with pytest.raises(MasterKeyUnusable, match="could not be recorded"):
                kms.encrypt("files", b"a", {})
        kms.encrypt("files", b"a", {})

    def test_fields_write_nothing(self, key):
        from tests.models import Note

        Note.objects.create(text="a", data=None)
        assert used() == set()


class TestInATransaction:
    @pytest.mark.skipif("connection.vendor == 'sqlite'", reason="it has one lock for all writers")
    def test_it_outlives_a_rollback(self, key):
        with transaction.atomic():
            kms.encrypt("files", b"a", {})
            transaction.set_rollback(True)
        assert used() == {("encrypt", "kms")}

    def test_it_goes_with_the_rollback_on_sqlite_and_is_recorded_again(self, key):
        if connection.vendor != "sqlite":
            pytest.skip("others have a second connection")
        for rolled_back in (True, False):
            with transaction.atomic():
                kms.encrypt("files", b"a", {})
                assert used() == {("encrypt", "kms")}
                transaction.set_rollback(rolled_back)
            assert bool(used()) is not rolled_back

    @pytest.mark.skipif("connection.vendor != 'mysql'", reason="there, a parent row is locked")
    def test_under_a_lock_of_its_own(self, key, monkeypatch):
        """Its own connection waits for the version that this transaction has locked."""
        monkeypatch.setattr("envelope_fields.databases.transactions.LOCK_SECONDS", 1)
        with transaction.atomic():
            key.versions.update(created_at=key.created_at)
            keyring.forget()
            kms.encrypt("files", b"a", {})
        assert used() == {("encrypt", "kms")}

    def test_where_no_thread_can_be_started(self, key, monkeypatch):
        """As at the end of a process, or where the machine has no more of them."""

        def start(_):
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr("threading.Thread.start", start)
        with transaction.atomic():
            kms.encrypt("files", b"a", {})
        assert used() == {("encrypt", "kms")}

    def test_a_version_that_only_this_transaction_sees(self, key):
        with transaction.atomic():
            ciphertext = kms.encrypt("files", b"a", {})
            forget()
            kms.decrypt(ciphertext, {})
        assert ("decrypt", "kms") in used()

    def test_before_our_migration(self, key, monkeypatch):
        """A data migration may use kms when the columns are not there yet."""

        def fail(*_):
            with connection.cursor() as cursor:
                cursor.execute("SELECT nothing_like_it FROM envelope_fields_keyuse")

        monkeypatch.setattr(key_uses, "write", fail)
        assert kms.encrypt("files", b"a", {})


class TestRefused:
    def test_it_is_recorded_at_once(self, key):
        ciphertext = kms.encrypt("files", b"a", {})
        disable(key)
        with pytest.raises(MasterKeyUnusable):
            kms.decrypt(ciphertext, {})
        assert KeyUse.objects.get(action="decrypt").refused_at is not None

    @pytest.mark.skipif("connection.vendor == 'sqlite'", reason="it has one lock for all writers")
    def test_in_a_transaction_that_it_ends(self, key):
        ciphertext = kms.encrypt("files", b"a", {})
        disable(key)
        with pytest.raises(MasterKeyUnusable), transaction.atomic():
            kms.decrypt(ciphertext, {})
        assert KeyUse.objects.get(action="decrypt").refused_at is not None

    def test_many_of_them_write_once(self, key, monkeypatch):
        ciphertext = kms.encrypt("files", b"a", {})
        disable(key)
        writes, write = [], key_uses.write
        monkeypatch.setattr(key_uses, "write", lambda *args: writes.append(args) or write(*args))
        for _ in range(10):
            with pytest.raises(MasterKeyUnusable):
                kms.decrypt(ciphertext, {})
        assert len(writes) == 1
        key_uses.flush()
        assert KeyUse.objects.get(action="decrypt").refused == 10

    @pytest.mark.parametrize("error", [DatabaseError, InterfaceError, DatabaseOperationForbidden])
    def test_an_error_of_the_database_is_not_seen(self, key, monkeypatch, error):
        ciphertext = kms.encrypt("files", b"a", {})
        disable(key)

        def fail(*_):
            raise error("no")

        monkeypatch.setattr(key_uses, "write", fail)
        with pytest.raises(MasterKeyUnusable, match="disabled"):
            kms.decrypt(ciphertext, {})


def in_child(number):
    """Use a key three times, in a process that ends without `atexit`."""
    connections.close_all()
    for _ in range(3):
        kms.encrypt("files", b"a", {})
    return number


def all_uses():
    return sum(KeyUse.objects.filter(channel="kms").values_list("uses", flat=True))


class TestChildren:
    """Their uses are known as soon as they have ended."""

    @pytest.fixture(autouse=True)
    def closed(self, key):
        connections.close_all()

    def test_of_multiprocessing(self):
        process = multiprocessing.get_context("fork").Process(target=in_child, args=(1,))
        process.start()
        process.join()
        assert (process.exitcode, all_uses()) == (0, 3)

    def test_of_a_pool(self):
        with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
            assert list(pool.map(in_child, range(2))) == [0, 1]
        assert all_uses() == 6

    def test_of_billiard(self):
        billiard = pytest.importorskip("billiard")
        process = billiard.get_context("fork").Process(target=in_child, args=(1,))
        process.start()
        process.join()
        assert (process.exitcode, all_uses()) == (0, 3)

    def test_one_that_is_killed(self):
        def use_and_wait():
            in_child(1)
            os.kill(os.getpid(), signal.SIGKILL)

        process = multiprocessing.get_context("fork").Process(target=use_and_wait)
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert used() == {("encrypt", "kms")}
        assert all_uses() == 0

    def test_of_celery(self):
        """Its prefork pool ends its processes without any hook of Python's."""
        pytest.importorskip("celery")
        done = subprocess.run(
            [sys.executable, "-m", "tests.celery_child", child.databases()],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert all_uses() == 3


def test_two_processes_record_the_same_day(key):
    if connection.vendor == "sqlite":
        pytest.skip("SQLite lets one write at a time")
    version_id = bytes(key.current_version.version_id)

    def record():
        forget()
        key_uses.record(version_id, kms._ENCRYPT)

    assert at_once(*[record] * 4) == [None] * 4
    assert used() == {("encrypt", "kms")}


def forget():
    """Let this process be one that has recorded nothing."""
    key_uses.buffer.recorded.clear()
