"""XAES-256-GCM against C2SP's vectors, and against the derivation done by hand."""

import hashlib
import json
import os
from io import BytesIO
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import aead
from hypothesis import given, settings, strategies as st

from envelope_fields.crypto import xaes
from tests.crypto import reference

REPOSITORY = Path(__file__).parents[2]
CARRIED = REPOSITORY / "tests/vectors/xaes-256-gcm.json"
SHARED = Path(os.environ.get("ENVELOPE_SHARED", REPOSITORY.parent / "shared"))
PUBLISHED = json.loads(CARRIED.read_text())


@pytest.fixture(params=PUBLISHED["vectors"], ids=["no additional data", "additional data"])
def vector(request):
    return request.param


def opened(key: bytes, nonce: bytes, sealed: bytes, additional_data: bytes) -> bytes:
    plaintext = bytearray(len(sealed) - 16)
    xaes.open_into(bytearray(key), nonce, sealed, additional_data, plaintext)
    return bytes(plaintext)


def test_published_vectors(vector):
    key, nonce = bytes.fromhex(vector["key"]), vector["nonce_ascii"].encode()
    plaintext, additional_data = vector["plaintext_ascii"].encode(), vector["aad_ascii"].encode()

    sealed = xaes.seal(bytearray(key), nonce, bytearray(plaintext), additional_data)

    assert sealed.hex() == vector["ciphertext"]
    assert opened(key, nonce, sealed, additional_data) == plaintext


def test_published_intermediate_values(vector, monkeypatch):
    key, prefix = bytes.fromhex(vector["key"]), vector["nonce_ascii"].encode()[:12]

    assert [value.hex() for value in reference.cmac_subkeys(key)] == [vector["L"], vector["K1"]]
    assert reference.derive(key, prefix).hex() == vector["Kx"]

    monkeypatch.setattr(xaes, "AESGCM", bytes)
    assert xaes.derive(bytearray(key), prefix).hex() == vector["Kx"]


def test_both_published_vectors_are_here_and_cover_both_subkey_cases():
    first_bits = {int(vector["L"], 16) >> 127 for vector in PUBLISHED["vectors"]}
    assert first_bits == {0, 1}


def test_ten_thousand_accumulated():
    rounds = 10_000
    longest = 32 + 24 + 2 * (1 + 255)
    stream = BytesIO(hashlib.shake_128().digest(rounds * longest))
    accumulated = hashlib.shake_128()

    for _ in range(rounds):
        key, nonce = stream.read(32), stream.read(24)
        plaintext = stream.read(stream.read(1)[0])
        additional_data = stream.read(stream.read(1)[0])
        sealed = xaes.seal(bytearray(key), nonce, bytearray(plaintext), additional_data)
        accumulated.update(sealed)
        assert opened(key, nonce, sealed, additional_data) == plaintext

    assert accumulated.hexdigest(32) == PUBLISHED["accumulated"]["10000"]


def test_the_vectors_carried_here_are_the_shared_ones():
    shared = SHARED / "vectors" / CARRIED.name
    if not shared.exists():
        pytest.skip("the shared vectors are not beside this repository; ENVELOPE_SHARED names them")
    assert json.loads(shared.read_text()) == PUBLISHED


@settings(max_examples=50)
@given(
    key=st.binary(min_size=32, max_size=32),
    nonce=st.binary(min_size=24, max_size=24),
    plaintext=st.binary(max_size=70),
    additional_data=st.binary(max_size=40),
)
def test_agrees_with_the_reference(key, nonce, plaintext, additional_data):
    derived = reference.derive(key, nonce[:12])
    expected = reference.gcm_encrypt(derived, nonce[12:], plaintext, additional_data)

    assert xaes.seal(bytearray(key), nonce, bytearray(plaintext), additional_data) == expected


def test_a_wrong_tag_is_refused():
    sealed = bytearray(xaes.seal(bytearray(32), bytes(24), bytearray(b"text"), b""))
    sealed[-1] ^= 1
    with pytest.raises(InvalidTag):
        opened(bytes(32), bytes(24), bytes(sealed), b"")


def test_the_derived_key_is_wiped_and_still_in_force(monkeypatch):
    buffers = []

    class Recorded:
        def __new__(cls, key):
            buffers.append((key, bytes(key)))
            return aead.AESGCM(key)

    monkeypatch.setattr(xaes, "AESGCM", Recorded)
    derived = xaes.derive(bytearray(b"k" * 32), b"p" * 12)

    [(buffer, key)] = buffers
    assert key == reference.derive(b"k" * 32, b"p" * 12)
    assert bytes(buffer) == bytes(32)
    assert derived.encrypt(bytes(12), b"x", b"") == aead.AESGCM(key).encrypt(bytes(12), b"x", b"")


def test_a_build_that_keeps_no_copy_of_keys_is_refused(monkeypatch):
    class LazyAESGCM:
        """AESGCM of `cryptography` 47 over OpenSSL 3.0: it reads the key when it is used."""

        def __init__(self, key):
            self.key = key

        def encrypt(self, *arguments):
            return aead.AESGCM(self.key).encrypt(*arguments)

    xaes._check_known_answer()
    monkeypatch.setattr(xaes, "AESGCM", LazyAESGCM)
    with pytest.raises(ImportError, match="does not keep a copy"):
        xaes._check_known_answer()
