"""Law 3: no value under a key version whose row can vanish, and nothing cached of it."""

import threading
from contextlib import contextmanager

import pytest
from django.apps.registry import Apps
from django.core.exceptions import ImproperlyConfigured
from django.db import connection, connections, models, transaction
from django.test import TransactionTestCase

from envelope_fields import keyring, kms
from envelope_fields.databases import database
from envelope_fields.databases.transactions import autonomous
from envelope_fields.exceptions import MasterKeyNotFound, MasterKeyUnusable
from envelope_fields.fields import EncryptedTextField
from envelope_fields.keyring import materials, opening
from envelope_fields.keyring.table import Table
from envelope_fields.lifecycle import create_master_key, disable, enable, rotate_master_key
from envelope_fields.models import MasterKey, MasterKeyVersion, key_changes
from tests.at_once import at_once
from tests.models import Note, TenantNote
from tests.stored import stored, version_of

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])


@contextmanager
def rolled_back():
    """Run the block in a transaction, or a savepoint, and take it back."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


@pytest.fixture
def default_key():
    return MasterKey.objects.get(alias="default")


def current_id(key):
    return bytes(key.current_version.version_id)


def is_cached(version_id):
    """Whether the material of a version is in the keyring, by what it is bound to."""
    return any(version_id in context for context in materials._plaintext)


def warm():
    """Fill the caches, for writing and for reading."""
    note = Note.objects.create(text="warm")
    assert Note.objects.get(pk=note.pk).text == "warm"
    return note


def test_rotation_that_is_rolled_back_leaves_the_old_version_in_use(default_key):
    old = current_id(default_key)
    warm()
    with rolled_back():
        rotate_master_key(default_key)
        inside = Note.objects.create(text="inside")
        assert version_of(stored(inside, "text")) != old
    note = Note.objects.create(text="after")
    assert version_of(stored(note, "text")) == old
    assert Note.objects.get(pk=note.pk).text == "after"


def test_rotation_in_a_savepoint_that_is_rolled_back(default_key):
    old = current_id(default_key)
    warm()
    with transaction.atomic():
        with rolled_back():
            rotate_master_key(default_key)
        note = Note.objects.create(text="outer")
        assert version_of(stored(note, "text")) == old
    assert Note.objects.get(pk=note.pk).text == "outer"


def test_rotation_under_a_manual_savepoint_that_is_rolled_back(default_key):
    old = current_id(default_key)
    warm()
    with transaction.atomic():
        savepoint = getattr(transaction, "savepoint_create", transaction.savepoint)()
        rotate_master_key(default_key)
        Note.objects.create(text="inside")
        transaction.savepoint_rollback(savepoint)
        note = Note.objects.create(text="outer")
        assert version_of(stored(note, "text")) == old
    assert Note.objects.get(pk=note.pk).text == "outer"


def test_rotation_that_is_committed_is_used_at_once(default_key):
    warm()
    with transaction.atomic():
        new = rotate_master_key(default_key)
        inside = Note.objects.create(text="inside")
    after = Note.objects.create(text="after")
    for note in (inside, after):
        assert version_of(stored(note, "text")) == bytes(new.version_id)
        assert Note.objects.get(pk=note.pk).text == note.text


def test_key_that_is_rolled_back_is_forgotten():
    with rolled_back():
        create_master_key("brief")
        note = TenantNote.objects.create(tenant="brief", text="value")
        envelope = stored(note, "text")
        assert TenantNote.objects.get().text == "value"
    with pytest.raises(MasterKeyNotFound):
        TenantNote.objects.create(tenant="brief", text="value")
    with pytest.raises(MasterKeyNotFound):
        keyring.values.unwrapping_key(envelope[:21])
    assert not is_cached(version_of(envelope))


def test_nothing_is_cached_while_a_change_is_uncommitted(default_key, django_assert_num_queries):
    warm()
    keyring.evict()
    with transaction.atomic():
        rotate_master_key(default_key)
        note = Note.objects.create(text="inside")
        assert Note.objects.get(pk=note.pk).text == "inside"
        assert not materials._plaintext
        assert not keyring.cache.known.table.wrapping
        assert not keyring.cache.known.table.unwrapping
    warm()
    assert materials._plaintext


def test_state_is_read_from_the_database_while_a_change_is_uncommitted(default_key):
    note = warm()
    with rolled_back():
        disable(default_key)
        with pytest.raises(MasterKeyUnusable, match="disabled"):
            _ = Note.objects.get(pk=note.pk).text
        with pytest.raises(MasterKeyUnusable, match="disabled"), transaction.atomic():
            Note.objects.create(text="no")
    assert Note.objects.get(pk=note.pk).text == "warm"


def test_commit_callbacks_that_run_before_the_commit_fill_nothing(
    default_key, django_capture_on_commit_callbacks
):
    old = current_id(default_key)
    warm()
    with rolled_back():
        with django_capture_on_commit_callbacks(execute=True):
            rotate_master_key(default_key)
        Note.objects.create(text="inside")
    note = Note.objects.create(text="after")
    assert version_of(stored(note, "text")) == old


def test_another_database_refuses_an_uncommitted_version(default_key):
    with rolled_back():
        rotate_master_key(default_key)
        with pytest.raises(MasterKeyUnusable, match="not committed"):
            Note.objects.using("other").create(text="elsewhere")
    assert not Note.objects.using("other").exists()
    Note.objects.using("other").create(text="elsewhere")
    assert Note.objects.using("other").get().text == "elsewhere"


@contextmanager
def table_of_myisam():
    """A model whose table keeps what is rolled back."""

    class Kept(models.Model):
        text = EncryptedTextField()

        class Meta:
            app_label = "kept"
            apps = Apps()

    with connection.schema_editor() as editor:
        editor.create_model(Kept)
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {Kept._meta.db_table} ENGINE = MyISAM")
    try:
        yield Kept
    finally:
        with connection.schema_editor() as editor:
            editor.delete_model(Kept)


def test_a_table_without_transactions_refuses_an_uncommitted_version(default_key):
    """What is written to it stays when the key is rolled back."""
    if connection.vendor != "mysql":
        pytest.skip("MariaDB alone has such tables")
    with table_of_myisam() as model:
        with rolled_back():
            rotate_master_key(default_key)
            Note.objects.create(text="goes")
            with pytest.raises(MasterKeyUnusable, match="not committed"):
                model.objects.create(text="kept")
        assert not model.objects.exists()
        model.objects.create(text="kept")
        assert model.objects.get().text == "kept"


def test_an_answer_about_a_table_is_asked_again(default_key, settings):
    """Another process may alter the table meanwhile."""
    if connection.vendor != "mysql":
        pytest.skip("MariaDB alone has such tables")
    settings.ENVELOPE_FIELDS = {**settings.ENVELOPE_FIELDS, "KEY_CACHE_SECONDS": 0}
    with table_of_myisam() as model:
        alter = f"ALTER TABLE {model._meta.db_table} ENGINE = "
        with connection.cursor() as cursor:
            cursor.execute(alter + "InnoDB")
        with rolled_back():
            rotate_master_key(default_key)
            model.objects.create(text="goes")
        with connection.cursor() as cursor:
            cursor.execute(alter + "MyISAM")
        with rolled_back():
            rotate_master_key(default_key)
            with pytest.raises(MasterKeyUnusable, match="not committed"):
                model.objects.create(text="kept")


def test_another_database_may_use_a_committed_version_meanwhile(default_key):
    create_master_key("steady")
    with transaction.atomic():
        rotate_master_key(default_key)
        note = TenantNote(tenant="steady", text="elsewhere")
        note.save(using="other")
    assert TenantNote.objects.using("other").get().text == "elsewhere"


@pytest.mark.parametrize(
    "operation",
    [
        lambda: kms.generate_data_key("default", {}),
        lambda: kms.generate_data_key_without_plaintext("default", {}),
        lambda: kms.encrypt("default", b"value", {}),
    ],
)
def test_kms_refuses_an_uncommitted_version(default_key, operation):
    with rolled_back():
        rotate_master_key(default_key)
        with pytest.raises(MasterKeyUnusable, match="not committed"):
            operation()
    operation()


def test_fixtures_refuse_an_uncommitted_version(default_key):
    note = warm()
    with rolled_back():
        rotate_master_key(default_key)
        with pytest.raises(MasterKeyUnusable, match="not committed"):
            Note._meta.get_field("text").value_to_string(note)


def in_thread(function):
    """Run a function on another thread and connection; return what it returns."""
    results = []

    def run():
        try:
            results.append(function())
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(timeout=60)
    assert results, "the thread failed"
    return results[0]


@pytest.mark.skipif(
    "connection.vendor == 'sqlite'", reason="SQLite lets nobody else write during a transaction"
)
def test_other_threads_write_under_the_committed_version(default_key):
    old = current_id(default_key)
    with rolled_back():
        rotate_master_key(default_key)
        other = in_thread(lambda: Note.objects.create(text="other thread"))
        assert version_of(stored(other, "text")) == old
    assert Note.objects.get(pk=other.pk).text == "other thread"


def test_other_threads_learn_of_a_rotation_at_once(default_key):
    in_thread(warm)
    new = rotate_master_key(default_key)
    note = in_thread(lambda: Note.objects.create(text="other thread"))
    assert version_of(stored(note, "text")) == bytes(new.version_id)


def test_changes_behind_lifecycle_are_noticed(default_key):
    note = warm()
    MasterKey.objects.filter(pk=default_key.pk).update(state="disabled")
    with pytest.raises(MasterKeyUnusable):
        _ = Note.objects.get(pk=note.pk).text
    default_key.state = "enabled"
    default_key.save()
    assert Note.objects.get(pk=note.pk).text == "warm"


def test_no_change_stays_uncommitted_after_commit_or_rollback(default_key):
    rotate_master_key(default_key)
    assert not key_changes.any_uncommitted()
    with transaction.atomic():
        rotate_master_key(default_key)
        assert key_changes.any_uncommitted()
    assert not key_changes.any_uncommitted()
    with rolled_back():
        rotate_master_key(default_key)
    assert not key_changes.any_uncommitted()


def test_keys_in_a_database_of_their_own_change_durably(settings):
    settings.ENVELOPE_FIELDS = {**settings.ENVELOPE_FIELDS, "DATABASE": "other"}
    keyring.evict()
    key = create_master_key("own")
    with transaction.atomic(using="other"):
        for change in (
            lambda: create_master_key("another"),
            lambda: rotate_master_key(key),
            lambda: disable(key),
            lambda: enable(key),
        ):
            with pytest.raises(MasterKeyUnusable, match=r"'other'.* outside atomic"):
                change()
    # A transaction of the application's own database is no obstacle, nor does it take them back.
    with rolled_back():
        rotate_master_key(key)
        note = TenantNote.objects.create(tenant="own", text="value")
    note = TenantNote.objects.create(tenant="own", text="value")
    assert version_of(stored(note, "text")) == current_id(key)
    assert key.versions.using("other").count() == 2


needs_transactional_savepoints = pytest.mark.skipif(
    "connection.vendor == 'sqlite'", reason="SQLite commits when its outermost savepoint ends"
)


@contextmanager
def manual_transactions(using="default"):
    transaction.set_autocommit(False, using=using)
    try:
        yield
    finally:
        transaction.rollback(using=using)
        transaction.set_autocommit(True, using=using)


@needs_transactional_savepoints
def test_manual_transactions_are_transactions(default_key):
    with manual_transactions():
        rotate_master_key(default_key)
        inside = Note.objects.create(text="inside")
        for write in (
            lambda: Note.objects.using("other").create(text="elsewhere"),
            lambda: kms.encrypt("default", b"value", {}),
        ):
            with pytest.raises(MasterKeyUnusable, match="not committed"):
                write()
    assert not Note.objects.filter(pk=inside.pk).exists()
    assert kms.decrypt(kms.encrypt("default", b"value", {}), {}) == b"value"


@pytest.mark.parametrize(
    "change",
    [
        lambda key: MasterKey.objects.filter(pk=key.pk).update(state="disabled"),
        lambda key: key.save(update_fields=["state"]),
    ],
    ids=["update", "save"],
)
def test_rows_of_keys_may_be_changed_in_manual_transactions(change, default_key):
    note = warm()
    default_key.state = "disabled"
    with manual_transactions():
        change(default_key)
        with pytest.raises(MasterKeyUnusable, match="disabled"):
            _ = Note.objects.get(pk=note.pk).text
    assert Note.objects.get(pk=note.pk).text == "warm"


def test_keys_of_their_own_database_refuse_manual_transactions(settings):
    settings.ENVELOPE_FIELDS = {**settings.ENVELOPE_FIELDS, "DATABASE": "other"}
    with manual_transactions("other"), pytest.raises(MasterKeyUnusable, match="autocommit"):
        create_master_key("own")


def test_a_commit_hook_that_fails_does_not_keep_a_change_from_taking_effect(default_key):
    """Django drops the hooks behind it, ours among them."""
    note = warm()

    def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), transaction.atomic():
        transaction.on_commit(fail)
        disable(default_key)
        # As if another thread had filled it before the commit.
        keyring.cache.known.table = known = Table(60)
    assert keyring.cache.known.table is not known
    with pytest.raises(MasterKeyUnusable):
        _ = Note.objects.get(pk=note.pk).text


def test_a_snapshot_keeps_what_it_reads_of_keys_to_itself(default_key, monkeypatch):
    note = warm()
    monkeypatch.setattr(type(database("default")), "sees_the_past", lambda self: True)
    keyring.evict()
    with transaction.atomic():
        assert Note.objects.get(pk=note.pk).text == "warm"
        Note.objects.create(text="inside")
        first = keyring.cache.table_of_transaction()
        assert first.unwrapping
        assert first is keyring.cache.table_of_transaction()
        assert not keyring.cache.known.table.unwrapping
        assert not keyring.cache.known.table.wrapping
        if connection.vendor != "sqlite":  # where nobody else can write now
            in_thread(lambda: disable(default_key) or True)
    with transaction.atomic():
        assert keyring.cache.table_of_transaction() is not first
    if connection.vendor != "sqlite":
        with transaction.atomic(), pytest.raises(MasterKeyUnusable):
            _ = Note.objects.get(pk=note.pk).text


@pytest.mark.skipif("connection.vendor != 'mysql'", reason="the others have no such level")
def test_uncommitted_rows_of_others_are_never_read(monkeypatch):
    monkeypatch.setitem(
        connection.settings_dict,
        "OPTIONS",
        {**connection.settings_dict["OPTIONS"], "isolation_level": "read uncommitted"},
    )
    keyring.evict()
    with pytest.raises(ImproperlyConfigured, match="read committed"):
        Note.objects.create(text="x")


@pytest.mark.skipif("connection.vendor != 'mysql'", reason="the others have no such level")
@pytest.mark.parametrize("level", [None, ""])
def test_nor_where_the_level_is_that_of_the_server(monkeypatch, level):
    options = {**connection.settings_dict["OPTIONS"], "isolation_level": level}
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", options)
    keyring.evict()
    Note.objects.create(text="x")
    keyring.evict()
    with connection.cursor() as cursor:  # as with such a server, for connections from then on
        cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ UNCOMMITTED")
    try:
        with pytest.raises(ImproperlyConfigured, match="read committed"):
            Note.objects.create(text="x")
    finally:
        connection.close()


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="a statement of PostgreSQL's")
def test_a_snapshot_that_was_begun_by_hand(default_key):
    note = warm()
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        Note.objects.count()
        assert in_thread(lambda: disable(default_key) or True)
        assert Note.objects.get(pk=note.pk).text == "warm"  # as it was
    with pytest.raises(MasterKeyUnusable):
        _ = Note.objects.get(pk=note.pk).text


@pytest.mark.skipif("connection.vendor != 'sqlite'", reason="the others lock rows")
def test_a_transaction_that_begins_with_an_encrypted_value_has_the_lock_before_it_reads(
    default_key,
):
    """So that such transactions take turns: none may write that read before another one wrote."""
    others = []

    def write():
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA busy_timeout = 0")
            cursor.execute("DELETE FROM envelope_fields_masterkey WHERE 0")

    def watch(execute, sql, *context):
        if sql.startswith("SELECT") and not others:
            others.append(None)
            others.extend(at_once(write))
        return execute(sql, *context)

    keyring.forget()
    with transaction.atomic(), connection.execute_wrapper(watch):
        Note.objects.create(text="x")
    assert "is locked" in str(others[1])
    assert Note.objects.get().text == "x"


def test_a_rolled_back_change_slows_nobody(default_key):
    with rolled_back():
        warm()
        rotate_master_key(default_key)
    assert not key_changes.any_uncommitted()


def test_committed_material_is_not_unwrapped_again_while_a_change_is_uncommitted(
    default_key, monkeypatch
):
    note = warm()
    with rolled_back():
        create_master_key("other")
        monkeypatch.setattr(opening, "opened", None)
        assert Note.objects.get(pk=note.pk).text == "warm"


class FlushTests(TransactionTestCase):
    """A flush takes the keys away and brings a new default key."""

    def test_1(self):
        self.check()

    def test_2(self):
        self.check()

    def check(self):
        assert MasterKeyVersion.objects.count() == 1
        note = warm()
        assert version_of(stored(note, "text")) == bytes(MasterKeyVersion.objects.get().version_id)


@pytest.mark.django_db
class TestWithinATestCase:
    """TestCase wraps everything in a transaction, which is no reason to refuse."""

    pytestmark = pytest.mark.django_db(databases=["default", "other"])

    def test_key_made_in_a_test_serves_every_database(self):
        create_master_key("tenant")
        for using in ("default", "other"):
            with transaction.atomic():  # of the code that is tested
                TenantNote(tenant="tenant", text=using).save(using=using)
            assert TenantNote.objects.using(using).get().text == using
        assert kms.decrypt(kms.encrypt("tenant", b"value", {}), {}) == b"value"
        assert not is_cached(current_id(MasterKey.objects.get(alias="tenant")))

    def test_a_transaction_inside_the_test_counts(self):
        key = MasterKey.objects.get(alias="default")
        with rolled_back():
            rotate_master_key(key)
            with transaction.atomic(), pytest.raises(MasterKeyUnusable, match="not committed"):
                Note.objects.using("other").create(text="elsewhere")
            with pytest.raises(MasterKeyUnusable, match="not committed"):
                kms.encrypt("default", b"value", {})
        assert kms.decrypt(kms.encrypt("default", b"value", {}), {}) == b"value"


def test_an_autonomous_transaction_takes_no_connection_of_the_pool(monkeypatch):
    """Those that hold all of it would wait for each other."""

    def ask():
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        return connection.settings_dict["OPTIONS"]

    options = connection.settings_dict["OPTIONS"]
    with monkeypatch.context() as patch:
        patch.setitem(options, "pool", {"max_size": 1})
        assert "pool" not in autonomous(ask, "default")
        assert "pool" in options
