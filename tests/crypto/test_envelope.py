"""Encrypt, decrypt and rewrap: what opens, what never opens, and what stays untouched."""

import pickle
import traceback

import pytest
from hypothesis import given, settings, strategies as st

from envelope_fields.crypto import buffers, context, envelope, format as layout
from envelope_fields.crypto.envelope import UnwrapFailed
from envelope_fields.exceptions import DecryptionFailed, EnvelopeError, MalformedEnvelope
from tests.crypto import keys, reference

NOTES = context.field_context("clinic.patient.notes")
OTHERS = [
    context.field_context("clinic.patient.record"),
    context.field_context("clinic.patient.notes", [("id", b"1")]),
    context.kms_context({"clinic.patient.notes": ""}),
    NOTES + b"\x00",
    NOTES[:-1],
    b"",
]


@given(st.binary(max_size=300), st.binary(max_size=60))
def test_round_trip(plaintext, bound_to):
    stored = keys.encrypt(plaintext, bound_to)
    assert keys.decrypt(stored, bound_to) == plaintext
    assert len(stored) == len(plaintext) + 97
    assert layout.parse(stored).header == layout.header(keys.VERSION_ID)


@settings(max_examples=30)
@given(st.binary(max_size=50), st.binary(max_size=60))
def test_the_reference_opens_what_we_write_and_we_what_it_writes(plaintext, bound_to):
    stored = keys.encrypt(plaintext, bound_to)
    data_key = reference.unwrap(keys.MASTER_KEY, stored, bound_to)
    assert reference.gcm_decrypt(data_key, bytes(12), stored[81:], b"\x01") == plaintext

    theirs = reference.encrypt(
        keys.MASTER_KEY, keys.VERSION_ID, stored[9:33], data_key, plaintext, bound_to
    )
    assert theirs == stored


def test_a_flip_of_any_bit_is_refused():
    stored = keys.encrypt(b"x", NOTES)
    for at in range(len(stored)):
        expected = MalformedEnvelope if at < 1 else UnwrapFailed if at < 81 else DecryptionFailed
        for bit in range(8):
            changed = stored[:at] + bytes([stored[at] ^ 1 << bit]) + stored[at + 1 :]
            with pytest.raises(EnvelopeError) as caught:
                keys.decrypt(changed, NOTES)
            assert caught.type is expected, (at, bit)
    assert keys.decrypt(stored, NOTES) == b"x"


@given(st.binary(max_size=200), st.data())
def test_a_flip_in_a_longer_envelope_is_refused(plaintext, data):
    stored = bytearray(keys.encrypt(plaintext, NOTES))
    stored[data.draw(st.integers(0, len(stored) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises((MalformedEnvelope, DecryptionFailed)):
        keys.decrypt(bytes(stored), NOTES)


def test_every_other_length_is_refused():
    stored = keys.encrypt(b"twelve bytes", NOTES)
    for length in range(len(stored)):
        with pytest.raises(DecryptionFailed if length >= 97 else MalformedEnvelope):
            keys.decrypt(stored[:length], NOTES)
    with pytest.raises(DecryptionFailed):
        keys.decrypt(stored + b"\x00", NOTES)


@pytest.mark.parametrize("other", OTHERS)
def test_another_context_does_not_open_it(other):
    stored = keys.encrypt(b"x", NOTES)
    with pytest.raises(UnwrapFailed):
        keys.decrypt(stored, other)
    with pytest.raises(UnwrapFailed):
        keys.rewrap(keys.wrapping_key().aead, stored, other, keys.wrapping_key(), NOTES)


def test_another_master_key_does_not_open_it():
    with pytest.raises(UnwrapFailed):
        keys.decrypt(keys.encrypt(b"x", NOTES), NOTES, master_key=bytes(32))


def test_the_payload_of_another_envelope_does_not_open():
    one, other = keys.encrypt(b"same", NOTES), keys.encrypt(b"same", NOTES)
    with pytest.raises(DecryptionFailed) as caught:
        keys.decrypt(one[:81] + other[81:], NOTES)
    assert caught.type is DecryptionFailed


def test_nothing_is_drawn_twice():
    stored = [keys.encrypt(b"the same plaintext", NOTES) for _ in range(200)]
    data_keys = {reference.unwrap(keys.MASTER_KEY, one, NOTES) for one in stored[:20]}
    assert len(data_keys) == 20
    for drawn in (slice(21, 33), slice(33, 65), slice(81, None)):
        assert len({one[drawn] for one in stored}) == 200
    assert {one[9:21] for one in stored} == {keys.wrapping_key().prefix}


def test_suffix_and_data_key_are_drawn_apart():
    stored = keys.encrypt(b"x", NOTES)
    assert stored[21:33] not in reference.unwrap(keys.MASTER_KEY, stored, NOTES)


@settings(max_examples=30)
@given(st.binary(max_size=60))
def test_rewrap_leaves_the_payload_and_changes_the_rest(plaintext):
    stored = keys.encrypt(plaintext, NOTES)
    next_version = keys.wrapping_key(b"PREFIX OF 12", b"version2", bytes(32))

    front = keys.rewrap(keys.wrapping_key().aead, stored, NOTES, next_version, OTHERS[0])
    rewrapped = front + stored[81:]

    assert len(front) == 81
    assert front[:21] == b"\x01version2PREFIX OF 12"
    assert front[21:] != stored[21:81]
    assert keys.decrypt(rewrapped, OTHERS[0], master_key=bytes(32)) == plaintext
    assert reference.unwrap(bytes(32), rewrapped, OTHERS[0]) == reference.unwrap(
        keys.MASTER_KEY, stored, NOTES
    )
    with pytest.raises(UnwrapFailed):
        keys.decrypt(rewrapped, NOTES, master_key=bytes(32))
    with pytest.raises(UnwrapFailed):
        keys.decrypt(rewrapped, OTHERS[0])


def test_rewrap_looks_at_81_bytes_only():
    stored, key = keys.encrypt(b"x", NOTES), keys.wrapping_key()
    front = keys.rewrap(key.aead, stored[:81], NOTES, key, NOTES)
    assert keys.decrypt(front + stored[81:], NOTES) == b"x"


def test_each_rewrap_has_a_nonce_of_its_own():
    stored, key = keys.encrypt(b"x", NOTES), keys.wrapping_key()
    nonces = {keys.rewrap(key.aead, stored, NOTES, key, NOTES)[21:33] for _ in range(50)}
    with envelope.Rewrapper(key, NOTES, values=50) as rewrapper:
        nonces |= {rewrapper.rewrap(key.aead, stored, NOTES)[21:33] for _ in range(50)}
    assert len(nonces) == 100


def test_what_does_not_open_takes_nothing_from_the_next():
    stored, key = keys.encrypt(b"x", NOTES), keys.wrapping_key()
    with envelope.Rewrapper(key, NOTES, values=1) as rewrapper:
        with pytest.raises(UnwrapFailed):
            rewrapper.rewrap(key.aead, stored, OTHERS[0])
        front = rewrapper.rewrap(key.aead, stored, NOTES)
    assert keys.decrypt(front + stored[81:], NOTES) == b"x"


def test_a_wrapping_key_shows_and_pickles_nothing():
    key = keys.wrapping_key()
    assert repr(key) == f"<WrappingKey of version {keys.VERSION_ID.hex()}>"
    with pytest.raises(TypeError, match="pickle"):
        pickle.dumps(key)


class RefusedByTheSystem:
    def draw(self):
        raise OSError("no randomness")


@pytest.mark.parametrize(
    ("plaintext", "name", "replacement", "error"),
    [
        (b"SECRET plaintext", "_suffix_and_data_key", RefusedByTheSystem(), OSError),
        (b"SECRET plaintext", "_suffix_and_data_key", buffers.RandomParts(12, 245), OSError),
        (b"SECRET plaintext", "PAYLOAD_NONCE", b"short", ValueError),
        ("SECRET plaintext", "FORMAT", b"", TypeError),
    ],
    ids=["no entropy", "getentropy fails", "encryption fails", "text instead of bytes"],
)
def test_a_failed_write_leaves_no_plaintext_in_our_frames(
    monkeypatch, plaintext, name, replacement, error
):
    monkeypatch.setattr(envelope, name, replacement, raising=False)
    with pytest.raises(error) as caught:
        envelope.encrypt(keys.wrapping_key(), plaintext, NOTES)

    frames = [
        frame for frame, _ in traceback.walk_tb(caught.tb) if "/crypto/" in frame.f_code.co_filename
    ]
    ours = [frame for frame in frames if frame.f_globals["__name__"].startswith("envelope_fields")]
    assert ours
    assert "SECRET" not in repr([frame.f_locals for frame in ours])
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize("at", [80, -1], ids=["unwrap", "payload"])
def test_errors_chain_nothing(at):
    altered = bytearray(keys.encrypt(b"x", NOTES))
    altered[at] ^= 1
    with pytest.raises(DecryptionFailed) as caught:
        keys.decrypt(bytes(altered), NOTES)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
