"""Key buffers: filled by the operating system, overwritten after use and after failure."""

import ctypes
from contextlib import suppress

import pytest
from cryptography.hazmat.primitives.ciphers import aead

from envelope_fields.crypto import buffers, context, envelope
from envelope_fields.crypto.envelope import UnwrapFailed
from envelope_fields.exceptions import DecryptionFailed
from tests.crypto import keys, reference

NOTES = context.field_context("clinic.patient.notes")


@pytest.mark.parametrize("draw", [buffers.random_source(44), lambda: buffers.random_buffer(44)])
def test_random_buffers(draw):
    drawn = [draw() for _ in range(100)]
    assert {len(one) for one in drawn} == {44}
    assert len({bytes(one) for one in drawn}) == 100
    # Each of 352 bits was seen as 0 and as 1, so the whole buffer is filled: sure to 2^-90.
    ones, zeros = 0, (1 << 352) - 1
    for one in drawn:
        ones |= int.from_bytes(one, "big")
        zeros &= int.from_bytes(one, "big")
    assert ones == (1 << 352) - 1
    assert zeros == 0

    buffers.wipe(drawn[0])
    assert bytes(drawn[0]) == bytes(44)
    assert any(drawn[1])


@pytest.mark.parametrize("draw", [buffers.random_source(257), lambda: buffers.random_buffer(257)])
def test_no_entropy_is_an_error(draw):
    # getentropy(3) refuses more than 256 bytes, which is how we make it fail.
    with pytest.raises(OSError, match="no random bytes"):
        draw()


def test_where_getentropy_is_missing_urandom_takes_its_place(monkeypatch):
    def no_library(_):
        raise OSError("not a Unix")

    monkeypatch.setattr(ctypes, "PyDLL", no_library)
    drawn = [buffers.random_source(32)() for _ in range(10)]
    assert len({bytes(one) for one in drawn} | {bytes(32)}) == 11


def test_urandom_failing_is_an_error(monkeypatch):
    def refuse(_):
        raise OSError("no randomness")

    def no_library(_):
        raise OSError("not a Unix")

    monkeypatch.setattr(ctypes, "PyDLL", no_library)
    monkeypatch.setattr(buffers.os, "urandom", refuse)
    with pytest.raises(OSError, match="no randomness"):
        buffers.random_source(32)()


@pytest.mark.parametrize("length", [0, 1, 32, 64])
def test_wiped_lends_zeros_and_leaves_zeros(length):
    with buffers.wiped(length) as buffer:
        assert buffer == bytes(length)
        buffer[:] = b"k" * length
    assert buffer == bytes(length)


def test_wiped_also_on_failure():
    with suppress(RuntimeError), buffers.wiped(32) as buffer:
        buffer[:] = b"k" * 32
        raise RuntimeError
    assert buffer == bytes(32)


@pytest.fixture
def data_keys(monkeypatch):
    """Each buffer that a payload was encrypted or decrypted under, and what it held then."""
    seen = []

    class Recorded:
        def __new__(cls, key):
            seen.append((key, bytes(key)))
            return aead.AESGCM(key)

    monkeypatch.setattr(envelope, "AESGCM", Recorded)
    return seen


class RecordingKey:
    """An unwrapping key that keeps the buffer it was given, and what it left there."""

    def __init__(self, key):
        self.key, self.seen = key, []

    def decrypt_into(self, nonce, data, additional_data, buffer):
        try:
            return self.key.decrypt_into(nonce, data, additional_data, buffer)
        finally:
            self.seen.append((buffer, bytes(buffer)))

    def encrypt(self, nonce, data, additional_data):
        self.seen.append((data, bytes(data)))
        return self.key.encrypt(nonce, data, additional_data)


def assert_held_and_wiped(seen, data_key):
    assert seen
    for buffer, held in seen:
        assert held == data_key
        assert bytes(buffer) == bytes(32)


def test_the_data_key_is_wiped_after_a_write_and_a_read(data_keys):
    stored = keys.encrypt(b"x", NOTES)
    keys.decrypt(stored, NOTES)
    assert len(data_keys) == 2
    assert_held_and_wiped(data_keys, reference.unwrap(keys.MASTER_KEY, stored, NOTES))


def test_the_data_key_is_wiped_when_the_payload_is_refused(data_keys):
    stored = keys.encrypt(b"x", NOTES)
    with pytest.raises(DecryptionFailed):
        keys.decrypt(stored[:-1] + bytes([stored[-1] ^ 1]), NOTES)
    assert len(data_keys) == 2
    assert_held_and_wiped(data_keys, reference.unwrap(keys.MASTER_KEY, stored, NOTES))


def rewrap(unwrapping_key, stored, bound_to):
    return envelope.rewrap(unwrapping_key, stored, bound_to, keys.wrapping_key(), bound_to)


@pytest.mark.parametrize("operation", [envelope.decrypt, rewrap])
def test_an_unverified_data_key_is_wiped(operation):
    stored, recording = keys.encrypt(b"x", NOTES), RecordingKey(keys.wrapping_key().aead)
    altered = stored[:80] + bytes([stored[80] ^ 1]) + stored[81:]
    with pytest.raises(UnwrapFailed):
        operation(recording, altered, NOTES)
    # Only the tag is wrong, so what decrypt_into leaves behind is the data key itself.
    assert_held_and_wiped(recording.seen, reference.unwrap(keys.MASTER_KEY, stored, NOTES))


@pytest.mark.parametrize("plaintext", [b"x", "text"])
def test_the_data_key_is_wiped_when_a_write_fails(plaintext, monkeypatch):
    recording = RecordingKey(keys.wrapping_key().aead)
    monkeypatch.setattr(envelope, "PAYLOAD_NONCE", b"short")
    with pytest.raises((TypeError, ValueError)):
        envelope.encrypt(keys.wrapping_key()._replace(aead=recording), plaintext, NOTES)
    [(buffer, held)] = recording.seen
    assert held != bytes(32)
    assert bytes(buffer) == bytes(32)


def test_the_data_key_is_wiped_after_a_rewrap_and_when_it_fails(monkeypatch):
    stored, key = keys.encrypt(b"x", NOTES), keys.wrapping_key()
    data_key = reference.unwrap(keys.MASTER_KEY, stored, NOTES)
    recording = RecordingKey(key.aead)
    envelope.rewrap(recording, stored, NOTES, key._replace(aead=recording), NOTES)
    assert len(recording.seen) == 2

    monkeypatch.setattr(envelope, "_draw_suffix", buffers.random_source(257))
    with pytest.raises(OSError, match="no random bytes"):
        envelope.rewrap(recording, stored, NOTES, key, NOTES)
    assert len(recording.seen) == 3
    assert_held_and_wiped(recording.seen, data_key)
