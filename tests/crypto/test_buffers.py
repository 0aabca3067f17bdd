"""Key buffers: filled by the operating system, overwritten after use and after failure."""

import ctypes
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from cryptography.hazmat.primitives.ciphers import aead

from envelope_fields.crypto import buffers, context, envelope
from envelope_fields.crypto.envelope import UnwrapFailed
from envelope_fields.exceptions import DecryptionFailed
from tests.crypto import keys, reference

NOTES = context.field_context("clinic.patient.notes")


def first_of(*lengths):
    """Draw into memory of its own each time."""
    parts = buffers.RandomParts(*lengths)
    return lambda: parts.draw()[0]


def reused(*lengths):
    """Draw into the same memory each time; what is returned is a copy."""
    parts = buffers.RandomParts(*lengths)

    def draw():
        drawn = parts.draw()
        copy = bytearray(drawn[0])
        parts.put_back(drawn)
        return copy

    return draw


@pytest.mark.parametrize("draw", [first_of(44), reused(44), lambda: buffers.random_buffer(44)])
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


def test_one_that_nothing_refers_to_is_wiped():
    """Such as one whose owner a signal handler has interrupted by an exception."""
    seen = []

    class Seen(buffers.KeyBuffer):
        def __del__(self):
            super().__del__()
            seen.append(bytes(self))

    Seen(b"a key")
    assert seen == [bytes(5)]


@pytest.mark.parametrize("draw", [first_of(257), lambda: buffers.random_buffer(257)])
def test_no_entropy_is_an_error(draw):
    # getentropy(3) refuses more than 256 bytes, which is how we make it fail.
    with pytest.raises(OSError, match="no random bytes"):
        draw()


def test_where_getentropy_is_missing_urandom_takes_its_place(monkeypatch):
    def no_library(_):
        raise OSError("not a Unix")

    monkeypatch.setattr(ctypes, "PyDLL", no_library)
    for draw in first_of(32), reused(32):
        drawn = [bytes(draw()) for _ in range(10)]
        assert len({*drawn, bytes(32)}) == 11


def test_urandom_failing_is_an_error(monkeypatch):
    def refuse(_):
        raise OSError("no randomness")

    def no_library(_):
        raise OSError("not a Unix")

    monkeypatch.setattr(ctypes, "PyDLL", no_library)
    monkeypatch.setattr(buffers.os, "urandom", refuse)
    with pytest.raises(OSError, match="no randomness"):
        buffers.RandomParts(32).draw()


def test_random_parts_are_cut_and_used_again():
    parts = buffers.RandomParts(12, 32)
    one, other = parts.draw(), parts.draw()
    assert [len(part) for part in one[:2]] == [12, 32]
    assert len({bytes(part)[:12] for part in one[:2] + other[:2]}) == 4  # nothing is shared
    before = bytes(one[1])
    parts.put_back(one)
    again = parts.draw()
    assert again is one
    assert bytes(again[1]) != before
    assert parts.draw() is not one


def test_memory_that_could_not_be_filled_is_not_used_again():
    parts = buffers.RandomParts(12, 32)
    drawn = parts.draw()
    parts.put_back(drawn)
    fill, parts._fill = parts._fill, lambda array, size: -1
    with pytest.raises(OSError, match="no random bytes"):
        parts.draw()
    parts._fill = fill
    assert parts.draw() is not drawn


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
    return keys.rewrap(unwrapping_key, stored, bound_to, keys.wrapping_key(), bound_to)


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


def test_a_write_within_a_write_has_a_data_key_of_its_own():
    # As a signal handler may do it, or another thread or greenlet.
    key, within = keys.wrapping_key(), []

    class Interrupted:
        def encrypt(self, nonce, data_key, additional_data):
            within.append(envelope.encrypt(key, b"within", NOTES))
            return key.aead.encrypt(nonce, data_key, additional_data)

    around = envelope.encrypt(key._replace(aead=Interrupted()), b"around", NOTES)
    assert keys.decrypt(around, NOTES) == b"around"
    assert keys.decrypt(within[0], NOTES) == b"within"
    opened = {reference.unwrap(keys.MASTER_KEY, one, NOTES) for one in (around, *within)}
    assert len(opened) == 2


def test_threads_that_write_at_once_share_no_data_key():
    def write(number):
        text = b"value %d" % number
        return text, keys.encrypt(text, NOTES)

    with ThreadPoolExecutor(8) as threads:
        written = list(threads.map(write, range(2000)))
    assert all(keys.decrypt(stored, NOTES) == text for text, stored in written)
    opened = {reference.unwrap(keys.MASTER_KEY, stored, NOTES) for _, stored in written}
    assert len(opened) == 2000


@pytest.fixture
def writing_memory(monkeypatch):
    memory = buffers.RandomParts(12, 32)
    monkeypatch.setattr(envelope, "_suffix_and_data_key", memory)
    return memory


def test_a_write_puts_its_memory_back_wiped(writing_memory):
    keys.encrypt(b"x", NOTES)
    [(_, data_key, _)] = writing_memory._idle
    assert bytes(data_key) == bytes(32)
    keys.encrypt(b"y", NOTES)
    assert len(writing_memory._idle) == 1


def test_a_failed_write_leaves_its_memory_to_its_traceback(writing_memory):
    keys.encrypt(b"x", NOTES)
    with pytest.raises(TypeError):
        keys.encrypt("text", NOTES)
    assert writing_memory._idle == []


def test_the_data_key_is_wiped_after_a_rewrap_and_when_it_fails():
    stored, key = keys.encrypt(b"x", NOTES), keys.wrapping_key()
    data_key = reference.unwrap(keys.MASTER_KEY, stored, NOTES)
    recording = RecordingKey(key.aead)
    rewrapper = envelope.Rewrapper(key._replace(aead=recording), NOTES, values=1)
    rewrapper.rewrap(recording, stored, NOTES)
    assert len(recording.seen) == 2
    with pytest.raises(StopIteration):  # a nonce too few
        rewrapper.rewrap(recording, stored, NOTES)
    assert len(recording.seen) == 3
    assert_held_and_wiped(recording.seen, data_key)


@pytest.fixture
def covered(monkeypatch):
    """What its effect is, a scan of memory shows, on some processors (test_memory.py)."""
    seen = []
    monkeypatch.setattr(envelope, "_cover_traces", lambda: seen.append(True))
    return seen


def test_the_traces_of_a_batch_are_covered_once(covered):
    stored, key = keys.encrypt(b"x", NOTES), keys.wrapping_key()
    with envelope.Rewrapper(key, NOTES, values=2) as rewrapper:
        for _ in range(2):
            rewrapper.rewrap(key.aead, stored, NOTES)
        assert covered == []
    assert covered == [True]
    with pytest.raises(KeyError), envelope.Rewrapper(key, NOTES, values=1):
        raise KeyError
    assert covered == [True, True]


@pytest.mark.parametrize("plaintext", [b"", bytearray(), memoryview(b"")])
def test_the_traces_of_a_data_key_without_a_payload_are_covered(plaintext, covered):
    keys.encrypt(b"x", NOTES)
    assert covered == []
    keys.encrypt(plaintext, NOTES)
    assert covered == [True]
