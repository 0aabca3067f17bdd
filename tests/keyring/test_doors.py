"""The keyring: what it caches, for how long, for whom, and what it never shows."""

import pickle
import threading
import traceback

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import OperationalError, connections

from envelope_fields import keyring, root_keys
from envelope_fields.crypto import envelope, xaes
from envelope_fields.exceptions import (
    MalformedEnvelope,
    MasterKeyNotFound,
    MasterKeyUnusable,
    RootKeyRefused,
    RootKeyUnavailable,
)
from envelope_fields.keyring import materials, table, values
from envelope_fields.lifecycle import create_master_key
from envelope_fields.models import MasterKeyVersion
from envelope_fields.root_keys.local import LocalRootKey, generate
from tests.at_once import at_once
from tests.models import Note

pytestmark = pytest.mark.django_db

CONTEXT = b"context"


@pytest.fixture(autouse=True)
def _cold():
    keyring.evict()


@pytest.fixture
def committed(transactional_db):
    """A key that is not part of a transaction, so that caches fill."""
    key = create_master_key("committed")
    keyring.evict()  # of what recorded that
    return key


class Counting(LocalRootKey):
    """Counts how often it is asked."""

    unwrapped = 0

    def unwrap(self, wrapped, context):
        type(self).unwrapped += 1
        return super().unwrap(wrapped, context)


@pytest.fixture
def counting(settings, committed):
    options = settings.ENVELOPE_FIELDS["ROOT_KEYS"]["default"]["OPTIONS"]
    settings.ENVELOPE_FIELDS = {
        "ROOT_KEYS": {
            "default": {"BACKEND": f"{__name__}.Counting", "OPTIONS": {"key": options["key"]}}
        }
    }
    Counting.unwrapped = 0
    return Counting


def test_the_root_key_is_asked_once_per_version_and_process(counting):
    key = values.wrapping_key("committed", "default")
    for _ in range(10):
        keyring.forget()
        values.wrapping_key("committed", "default")
        values.unwrapping_key(key.header + key.prefix)
    assert counting.unwrapped == 1
    keyring.evict()
    values.wrapping_key("committed", "default")
    assert counting.unwrapped == 2


def test_threads_at_once_ask_the_root_key_once(counting):
    keys = at_once(*[lambda: values.wrapping_key("committed", "default")] * 8)
    assert len({key.header for key in keys}) == 1
    assert counting.unwrapped == 1


def test_a_warm_key_costs_no_query(committed, django_assert_num_queries):
    key = values.wrapping_key("committed", "default")
    values.unwrapping_key(key.header + key.prefix)
    with django_assert_num_queries(0):
        for _ in range(100):
            values.wrapping_key("committed", "default")
            values.unwrapping_key(key.header + key.prefix)


def test_seconds_of_zero_ask_the_database_each_time(settings, committed, django_assert_num_queries):
    settings.ENVELOPE_FIELDS = {**settings.ENVELOPE_FIELDS, "KEY_CACHE_SECONDS": 0}
    keyring.forget()
    with django_assert_num_queries(3):  # the version, with the policy of its key
        for _ in range(3):
            values.wrapping_key("committed", "default")


def test_a_prefix_serves_4096_wraps_and_not_one_more(committed):
    keys = [values.wrapping_key("committed", "default") for _ in range(4097)]
    assert len({key.prefix for key in keys[:4096]}) == 1
    assert keys[4096].prefix != keys[0].prefix
    assert keys[4096].header == keys[0].header


def test_threads_never_mix_prefix_and_key(committed, monkeypatch):
    """Drawn apart, they made values unreadable: here each value opens, whatever the timing."""
    monkeypatch.setattr(table, "WRAPS_PER_PREFIX", 3)

    def write():
        keys = (values.wrapping_key("committed", "default") for _ in range(300))
        return [envelope.encrypt(key, b"value", CONTEXT) for key in keys]

    made = [value for values in at_once(*[write] * 6) for value in values]
    assert len(made) == 1800
    for value in made:
        assert envelope.decrypt(values.unwrapping_key(value[:21]), value, CONTEXT) == b"value"
    assert len({value[9:33] for value in made}) == 1800


def test_eviction_while_others_use_the_key_never_hands_them_a_wiped_one(committed, monkeypatch):
    """A key derived from a buffer that is being wiped would lose the value."""
    monkeypatch.setattr(table, "WRAPS_PER_PREFIX", 1)
    done = threading.Event()

    def evict():
        while not done.is_set():
            keyring.evict()

    evicting = threading.Thread(target=evict)
    evicting.start()
    try:
        made = [
            envelope.encrypt(values.wrapping_key("committed", "default"), b"value", CONTEXT)
            for _ in range(200)
        ]
    finally:
        done.set()
        evicting.join()
    for value in made:
        assert envelope.decrypt(values.unwrapping_key(value[:21]), value, CONTEXT) == b"value"


def test_material_that_is_wiped_in_our_own_thread_is_not_used(committed, monkeypatch):
    """By a signal handler, say: a key derived from zeros is everybody's."""
    derive = xaes.derive
    values.wrapping_key("committed", "default")
    keyring.forget()

    def interrupted(material, prefix):
        materials.evict()
        return derive(material, prefix)

    monkeypatch.setattr(xaes, "derive", interrupted)
    with pytest.raises(MasterKeyUnusable, match="Try again"):
        values.wrapping_key("committed", "default")
    monkeypatch.undo()
    values.wrapping_key("committed", "default")


def test_unwrapping_keys_are_bounded(committed, monkeypatch):
    monkeypatch.setattr(table, "UNWRAPPING_KEYS", 10)
    header = values.wrapping_key("committed", "default").header
    for number in range(25):
        values.unwrapping_key(header + number.to_bytes(12, "big"))
    assert len(keyring.cache.known.table.unwrapping) == 10
    assert header + (24).to_bytes(12, "big") in keyring.cache.known.table.unwrapping


def test_evicted_material_is_wiped(committed):
    values.wrapping_key("committed", "default")
    (material,) = materials._plaintext.values()
    assert any(material)
    keyring.evict()
    assert not any(material)
    assert not materials._plaintext


def test_unknown_versions_and_aliases_are_named(committed):
    with pytest.raises(MasterKeyNotFound, match="0102030405060708"):
        values.unwrapping_key(b"\x01" + bytes(range(1, 9)) + bytes(12))
    with pytest.raises(MasterKeyNotFound, match="create_master_key"):
        values.wrapping_key("nobody", "default")
    with pytest.raises(MasterKeyNotFound):
        values.wrapping_key("Committed", "default")  # MariaDB compares without case


@pytest.mark.parametrize("derivation", [b"", b"\x02" + bytes(20), "text", memoryview(b"x" * 21)])
def test_what_begins_no_envelope(derivation):
    with pytest.raises(MalformedEnvelope):
        values.unwrapping_key(derivation)


def test_state_that_cannot_be_refreshed_denies(committed, monkeypatch):
    key = values.wrapping_key("committed", "default")
    derivation = key.header + key.prefix
    values.unwrapping_key(derivation)

    def unreachable(*args, **kwargs):
        raise OperationalError("the server is away")

    monkeypatch.setattr(connections["default"], "cursor", unreachable)
    values.unwrapping_key(derivation)  # within its time it is known
    keyring.cache.known.table.deadline = 0
    for ask in (
        lambda: values.unwrapping_key(derivation),
        lambda: values.wrapping_key("committed", "default"),
    ):
        with pytest.raises(MasterKeyUnusable, match="could not be read"):
            ask()


def test_another_root_key_refuses(settings, committed):
    settings.ENVELOPE_FIELDS = {
        "ROOT_KEYS": {
            "default": {
                "BACKEND": "envelope_fields.root_keys.local.LocalRootKey",
                "OPTIONS": {"key": generate()},
            }
        }
    }
    with pytest.raises(RootKeyRefused, match="does not open"):
        values.wrapping_key("committed", "default")


def test_a_root_key_that_is_gone_from_the_settings(settings, committed):
    settings.ENVELOPE_FIELDS = {}
    with pytest.raises(ImproperlyConfigured, match="has no root key 'default'"):
        values.wrapping_key("committed", "default")
    with pytest.raises(ImproperlyConfigured, match="generate_root_key"):
        create_master_key("another")


def test_an_altered_row_is_refused_by_the_root_key(committed):
    version = committed.current_version
    MasterKeyVersion.objects.filter(pk=version.pk).update(number=2)
    with pytest.raises(RootKeyRefused):
        values.wrapping_key("committed", "default")


def test_a_row_that_is_altered_while_its_material_is_cached(committed):
    values.wrapping_key("committed", "default")
    version = committed.current_version
    MasterKeyVersion.objects.filter(pk=version.pk).update(number=2)
    with pytest.raises(RootKeyRefused):
        values.wrapping_key("committed", "default")


class Wiping(LocalRootKey):
    """Wipes what it returns, an easy mistake."""

    def unwrap(self, wrapped, context):
        material = super().unwrap(wrapped, context)
        material[:] = bytes(32)
        return material


class Shortening(LocalRootKey):
    def unwrap(self, wrapped, context):
        return super().unwrap(wrapped, context)[:16]


class Copying(LocalRootKey):
    def unwrap(self, wrapped, context):
        return bytes(super().unwrap(wrapped, context))


class Confusing(LocalRootKey):
    def unwrap(self, wrapped, context):
        return bytearray(reversed(super().unwrap(wrapped, context)))


@pytest.mark.parametrize("backend", [Wiping, Shortening, Copying, Confusing])
def test_a_backend_that_does_not_give_back_what_it_wrapped(backend, settings):
    settings.ENVELOPE_FIELDS = {
        "ROOT_KEYS": {
            "default": {"BACKEND": f"{__name__}.{backend.__name__}", "OPTIONS": {"key": generate()}}
        }
    }
    with pytest.raises(RootKeyRefused, match="root key 'default'"):
        create_master_key("never")


def test_changed_settings_empty_the_keyring(settings, committed):
    values.wrapping_key("committed", "default")
    settings.ENVELOPE_FIELDS = {}
    assert not materials._plaintext
    with pytest.raises(ImproperlyConfigured):
        values.wrapping_key("committed", "default")


class Failing(root_keys.RootKey):
    """Wraps, and then opens nothing."""

    def wrap(self, material, context):
        return root_keys.Wrapped(b"wrapped")

    def unwrap(self, wrapped, context):
        raise RootKeyUnavailable("the HSM is away")

    def check(self):
        pass


def test_nothing_is_stored_that_the_root_key_does_not_open_again(settings):
    settings.ENVELOPE_FIELDS = {"ROOT_KEYS": {"default": {"BACKEND": f"{__name__}.Failing"}}}
    with pytest.raises(RootKeyUnavailable):
        create_master_key("never")
    assert not MasterKeyVersion.objects.filter(master_key__alias="never").exists()


def secrets():
    """Return the plaintext material in the keyring, as bytes and as the texts it could show as."""
    keys = [bytes(material) for material in materials._plaintext.values()]
    assert keys
    return [text for key in keys for text in (key.hex(), repr(key)[2:-1], repr(key)[12:40])]


def test_no_key_shows_in_repr_or_in_a_traceback(committed, settings):
    key = values.wrapping_key("committed", "default")
    note = Note.objects.create(text="value")
    shown = [
        repr(key),
        repr(keyring.cache.known.table),
        repr(note),
        str(keyring.cache.known.table.__class__),
    ]
    try:
        values.unwrapping_key(b"\x01" + bytes(20))
    except MasterKeyNotFound as error:
        frames = traceback.TracebackException.from_exception(error, capture_locals=True)
        shown.extend(frames.format())
    for secret in secrets():
        assert all(secret not in text for text in shown)


def test_no_key_shows_when_a_derivation_fails(committed, monkeypatch):
    values.wrapping_key("committed", "default")
    keyring.forget()

    def fail(material, prefix):
        raise KeyboardInterrupt

    monkeypatch.setattr(xaes, "derive", fail)
    with pytest.raises(KeyboardInterrupt) as caught:
        values.wrapping_key("committed", "default")
    frames = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    shown = "".join(frames.format())
    assert "<KeyBuffer of 32 bytes>" in shown
    assert all(secret not in shown for secret in secrets())


def test_keys_do_not_pickle(committed):
    key = values.wrapping_key("committed", "default")
    with pytest.raises(TypeError):
        pickle.dumps(key)
    with pytest.raises(TypeError):
        pickle.dumps(LocalRootKey(key=generate()))
    (material,) = materials._plaintext.values()
    with pytest.raises(TypeError):
        pickle.dumps(material)
