"""The KMS data operations."""

import hashlib
import os
import pickle
import traceback
from base64 import b64encode

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.db import connection

from envelope_fields import kms
from envelope_fields.exceptions import (
    DecryptionFailed,
    MalformedEnvelope,
    MasterKeyNotFound,
    MasterKeyUnusable,
)
from envelope_fields.lifecycle import create_master_key, disable, move_alias, rotate_master_key
from tests.models import Note
from tests.stored import stored, version_of

pytestmark = pytest.mark.django_db

CONTEXT = {"purpose": "files", "patient": "7"}


@pytest.fixture
def key():
    return create_master_key("files")


def test_data_key_round_trip(key):
    for name in (key, key.id, "files"):
        with kms.generate_data_key(name, CONTEXT) as data_key:
            plaintext = bytes(data_key.plaintext)
            assert len(plaintext) == 32
            assert len(data_key.ciphertext) == 129
        assert kms.decrypt(data_key.ciphertext, CONTEXT) == plaintext


USES = [
    AESGCM,
    bytes,
    bytearray,
    len,
    memoryview,
    bytes.fromhex("00" * 32).__add__,
    lambda key: key[0],
    lambda key: key[:],
    lambda key: key.hex(),
    lambda key: key.__setitem__(0, 1),
    lambda key: b64encode(key),
    lambda key: hashlib.sha256(key),
]


def assert_wiped(data_key, lent, memory):
    """Nothing may take what is left for a key: anybody opens what 32 zero bytes encrypt."""
    with pytest.raises(ValueError, match="was wiped"):
        _ = data_key.plaintext
    for use in USES:
        with pytest.raises((ValueError, TypeError)):
            use(lent)
    assert bytes(memory) == bytes(32)


def test_a_wiped_data_key_refuses_to_be_used(key):
    with kms.generate_data_key(key, CONTEXT) as data_key:
        lent = data_key.plaintext
        memory = lent[:]  # a view of its own, which shows what became of the memory
        cipher = AESGCM(lent)
        sealed = cipher.encrypt(bytes(12), b"x", None)
        assert AESGCM(bytes(lent)).decrypt(bytes(12), sealed, None) == b"x"
    assert_wiped(data_key, lent, memory)
    with data_key:
        pass
    assert_wiped(data_key, lent, memory)


def test_the_plaintext_is_wiped_when_the_block_fails(key):
    with pytest.raises(ZeroDivisionError), kms.generate_data_key(key, CONTEXT) as data_key:
        lent = data_key.plaintext
        memory = lent[:]
        raise ZeroDivisionError
    assert_wiped(data_key, lent, memory)


def test_what_still_holds_the_buffer_is_told(key):
    data_key = kms.generate_data_key(key, CONTEXT)
    with data_key.plaintext[:] as memory:
        held = pickle.PickleBuffer(data_key.plaintext)
        with pytest.raises(BufferError, match="Release it within the block"), data_key:
            pass
        assert bytes(memory) == bytes(32)
    with pytest.raises(ValueError, match="was wiped"):
        _ = data_key.plaintext
    held.release()


def test_data_keys_do_not_show_or_pickle(key):
    with kms.generate_data_key(key, CONTEXT) as data_key:
        assert repr(data_key) == "<DataKey>"
        with pytest.raises(TypeError):
            pickle.dumps(data_key)
        assert not hasattr(data_key, "__dict__")


def test_data_key_without_plaintext(key):
    ciphertext = kms.generate_data_key_without_plaintext(key, CONTEXT)
    assert len(ciphertext) == 129
    assert len(kms.decrypt(ciphertext, CONTEXT)) == 32


@pytest.mark.parametrize(
    "plaintext", [b"", b"\x00", b"x" * 4096, bytearray(b"x"), memoryview(b"x")]
)
def test_encrypt_and_decrypt(key, plaintext):
    ciphertext = kms.encrypt(key, plaintext, CONTEXT)
    assert len(ciphertext) == 97 + len(plaintext)
    assert kms.decrypt(ciphertext, dict(reversed(CONTEXT.items()))) == plaintext
    assert kms.decrypt(ciphertext, CONTEXT, key=key) == plaintext
    assert kms.decrypt(ciphertext, CONTEXT, key="files") == plaintext


def test_encrypt_is_for_4096_bytes_at_most(key):
    with pytest.raises(ValueError, match="generate_data_key"):
        kms.encrypt(key, b"x" * 4097, CONTEXT)
    with pytest.raises(ValueError, match="4096"):
        kms.encrypt(key, memoryview(bytearray(8192)).cast("I"), CONTEXT)


@pytest.mark.parametrize("plaintext", ["text", 5, None])
def test_encrypt_takes_bytes(key, plaintext):
    with pytest.raises(TypeError):
        kms.encrypt(key, plaintext, CONTEXT)


@pytest.mark.parametrize("context", [None, {"a": 1}, {1: "a"}, [("a", "b")], "a", {b"a": "b"}])
def test_a_context_is_text_to_text(key, context):
    with pytest.raises(TypeError):
        kms.encrypt(key, b"value", context)
    with pytest.raises(TypeError):
        kms.decrypt(kms.encrypt(key, b"value", {}), context)


@pytest.mark.parametrize("context", [{"file": os.fsdecode(b"\xff.txt")}, {"\ud800": ""}])
def test_a_context_is_utf_8(key, context):
    with pytest.raises(ValueError, match=r"^context has lone surrogates"):
        kms.encrypt(key, b"value", context)
    with pytest.raises(ValueError, match=r"^context has lone surrogates"):
        kms.decrypt(kms.encrypt(key, b"value", {}), context)


@pytest.mark.parametrize(
    "context", [{}, {"purpose": "files"}, {**CONTEXT, "more": ""}, {"purpose": "7"}]
)
def test_another_context_does_not_decrypt(key, context):
    ciphertext = kms.encrypt(key, b"value", CONTEXT)
    with pytest.raises(DecryptionFailed, match="another context"):
        kms.decrypt(ciphertext, context)


def test_pairs_do_not_run_together(key):
    ciphertext = kms.encrypt(key, b"value", {"ab": "c"})
    with pytest.raises(DecryptionFailed):
        kms.decrypt(ciphertext, {"a": "bc"})


def test_a_pinned_key_must_be_the_one(key):
    ciphertext = kms.encrypt(key, b"value", CONTEXT)
    other = create_master_key("other")
    for pinned in (other, other.id, "other", "nobody"):
        with pytest.raises(DecryptionFailed, match="not under the master key"):
            kms.decrypt(ciphertext, CONTEXT, key=pinned)


def test_decrypt_after_rotation_and_not_when_disabled(key):
    ciphertext = kms.encrypt(key, b"value", CONTEXT)
    rotate_master_key(key)
    assert kms.decrypt(ciphertext, CONTEXT) == b"value"
    disable(key)
    with pytest.raises(MasterKeyUnusable):
        kms.decrypt(ciphertext, CONTEXT)
    with pytest.raises(MasterKeyUnusable):
        kms.generate_data_key(key, CONTEXT)


def test_re_encrypt(key):
    ciphertext = kms.encrypt(key, b"value", CONTEXT)
    destination = create_master_key("destination")
    moved = kms.re_encrypt(ciphertext, CONTEXT, destination)
    assert version_of(moved) == bytes(destination.current_version.version_id)
    assert kms.decrypt(moved, CONTEXT, key=destination) == b"value"
    bound = kms.re_encrypt(moved, CONTEXT, destination, {"a": "b"}, key="destination")
    assert kms.decrypt(bound, {"a": "b"}) == b"value"
    assert bound[81:] != moved[81:]
    with pytest.raises(DecryptionFailed):
        kms.re_encrypt(ciphertext, {}, destination)


@pytest.mark.parametrize("ciphertext", [b"", b"\x01" * 96, b"\x02" + bytes(200), "text", None])
def test_not_a_ciphertext(key, ciphertext):
    with pytest.raises(MalformedEnvelope):
        kms.decrypt(ciphertext, {})


def test_a_key_given_by_id_is_that_key_whatever_its_alias(key):
    """Another process moves an alias, and this one has not heard of it."""
    other = create_master_key("other")
    kms.encrypt("files", b"value", {})
    with connection.cursor() as cursor:
        cursor.execute("UPDATE envelope_fields_masterkey SET alias = 'x' WHERE alias = 'files'")
        cursor.execute("UPDATE envelope_fields_masterkey SET alias = 'files' WHERE alias = 'other'")
    for name in (key, key.id):
        ciphertext = kms.encrypt(name, b"value", {})
        assert version_of(ciphertext) == bytes(key.current_version.version_id)
    assert version_of(kms.encrypt(other.id, b"v", {})) == bytes(other.current_version.version_id)


@pytest.mark.parametrize("plaintext", [b"SECRET", "SECRET", b"SECRET" * 1000])
def test_a_failed_encryption_shows_no_plaintext(key, plaintext):
    disable(key)
    with pytest.raises((MasterKeyUnusable, TypeError, ValueError)) as caught:
        kms.encrypt(key, plaintext, {})
    frames = [
        repr(frame.f_locals)
        for frame, _ in traceback.walk_tb(caught.tb)
        if frame.f_globals["__name__"].startswith("envelope_fields")
    ]
    assert frames
    assert "SECRET" not in "".join(frames)


def test_unknown_keys(key):
    for operation in (kms.generate_data_key, kms.generate_data_key_without_plaintext):
        with pytest.raises(MasterKeyNotFound):
            operation("nobody", {})


@pytest.mark.parametrize("name", [None, 5, b"files"], ids=["none", "number", "bytes"])
def test_what_names_no_key(key, name):
    move_alias("moved", key)
    move_alias("moved", create_master_key("other").pk)  # which leaves the key without an alias
    for use in (
        lambda: kms.encrypt(name, b"x", CONTEXT),
        lambda: kms.generate_data_key(name, CONTEXT),
        lambda: kms.re_encrypt(kms.encrypt(key, b"x", CONTEXT), CONTEXT, name),
        lambda: kms.generate_mac(name, b"x", CONTEXT),
    ):
        with pytest.raises(TypeError, match=f"{type(name).__name__} is not a master key"):
            use()


def test_fields_and_kms_never_open_each_other(key):
    note = Note.objects.create(text="value")
    for context in ({}, {"tests.note.text": ""}, {"field": "tests.note.text"}):
        with pytest.raises(DecryptionFailed):
            kms.decrypt(stored(note, "text"), context)
    field = Note._meta.get_field("text")
    foreign = kms.encrypt("default", b"value", {})
    with pytest.raises(DecryptionFailed, match=r"tests\.Note\.text"):
        field.reader(foreign, None, None)
