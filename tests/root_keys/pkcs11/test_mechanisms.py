"""The bytes that are stored, and devices that choose an IV themselves."""

from unittest import mock

import pytest

pytest.importorskip("PyKCS11", reason="PyKCS11 is not installed; `make root-keys` has it")

import PyKCS11 as pkcs11
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.keywrap import (
    aes_key_unwrap_with_padding,
    aes_key_wrap_with_padding,
)

from envelope_fields.crypto.context import KeyVersionContext
from envelope_fields.exceptions import WrappedKeyAltered
from envelope_fields.root_keys.pkcs11.mechanisms import _GcmParameters
from tests.root_keys.contract import CONTEXT, MATERIAL, material

KNOWN = bytes(range(32))
IV = bytes(range(1, 13))


@pytest.fixture(scope="module")
def known(token):
    """The label of a key that the tests know."""
    token.make("known", VALUE=KNOWN.hex())
    return "known"


def digest(context: KeyVersionContext) -> bytes:
    from hashlib import sha256

    return sha256(context.encode()).digest()


def test_the_bytes_of_aes_gcm(token, known):
    root_key = token.root_key(known)
    wrapped = root_key.wrap(material(), CONTEXT).material
    assert len(wrapped) == 63
    assert wrapped[:3] == b"\x01\x01\x0c"
    opened = AESGCM(KNOWN).decrypt(wrapped[3:15], wrapped[15:], CONTEXT.encode())
    assert opened == MATERIAL
    assert root_key.wrap(material(), CONTEXT).material[3:15] != wrapped[3:15]
    for length in (12, 16):
        iv = (IV + IV)[:length]
        sealed = AESGCM(KNOWN).encrypt(iv, MATERIAL, CONTEXT.encode())
        stored = bytes([1, 1, length]) + iv + sealed
        assert root_key.unwrap(stored, CONTEXT) == MATERIAL


def test_the_bytes_of_a_key_wrap(token, known):
    root_key = token.root_key(known, mechanism="AES_KEY_WRAP_PAD")
    wrapped = root_key.wrap(material(), CONTEXT).material
    assert len(wrapped) == 75
    assert wrapped[:3] == b"\x01\x03\x00"
    opened = aes_key_unwrap_with_padding(KNOWN, wrapped[3:])
    assert opened == MATERIAL + digest(CONTEXT)
    stored = b"\x01\x03\x00" + aes_key_wrap_with_padding(KNOWN, MATERIAL + digest(CONTEXT))
    assert root_key.unwrap(stored, CONTEXT) == MATERIAL


def test_a_wrapped_object_of_another_kind(token, known):
    """Somebody who may wrap with the key, and not for this context, or not our object."""
    root_key = token.root_key(known, mechanism="AES_KEY_WRAP_PAD")
    for planted in (
        MATERIAL + bytes(32),
        MATERIAL + digest(CONTEXT._replace(number=2)),
        MATERIAL,
        MATERIAL + digest(CONTEXT) + bytes(8),
    ):
        stored = b"\x01\x03\x00" + aes_key_wrap_with_padding(KNOWN, planted)
        with pytest.raises(WrappedKeyAltered):
            root_key.unwrap(stored, CONTEXT)


def test_another_mechanism_is_not_tried(token, known):
    gcm, wrap = token.root_key(known), token.root_key(known, mechanism="AES_KEY_WRAP_PAD")
    for first, second, name in ((gcm, wrap, "AES_GCM"), (wrap, gcm, "AES_KEY_WRAP_PAD")):
        wrapped = first.wrap(material(), CONTEXT).material
        with pytest.raises(WrappedKeyAltered, match=f"wrapped with {name}, .*entry of its own"):
            second.unwrap(wrapped, CONTEXT)


def test_every_bit_counts(token, known):
    for mechanism in ("AES_GCM", "AES_KEY_WRAP_PAD"):
        root_key = token.root_key(known, mechanism=mechanism)
        wrapped = root_key.wrap(material(), CONTEXT).material
        for position in range(8 * len(wrapped)):
            altered = bytearray(wrapped)
            altered[position // 8] ^= 1 << position % 8
            with pytest.raises(WrappedKeyAltered):
                root_key.unwrap(bytes(altered), CONTEXT)


class Device:
    """Encrypts as a device does that chooses the IV itself."""

    def __init__(self, takes, answers):
        self._takes, self._answers = takes, answers
        self._encrypt = pkcs11.Session.encrypt
        self.offered = []

    def __enter__(self):
        device = self

        def encrypt(session, key, data, parameters):
            return device.encrypt(session, key, data, parameters)

        self._patch = mock.patch.object(pkcs11.Session, "encrypt", encrypt)
        self._patch.start()
        return self

    def __exit__(self, *_):
        self._patch.stop()

    def encrypt(self, session, key, data, parameters):
        offered = parameters.iv
        self.offered.append(offered)
        if not self._takes(offered):
            raise pkcs11.PyKCS11Error(pkcs11.CKR_MECHANISM_PARAM_INVALID)
        sealed = bytes(self._encrypt(session, key, data, _GcmParameters(IV, CONTEXT)))
        return pkcs11.ckbytelist(self._answers(parameters, sealed))


def written(parameters, sealed):
    """Return what it sealed; the IV is where ours was."""
    for position, byte in enumerate(IV):
        parameters._iv[position] = byte
    return sealed


@pytest.mark.parametrize(
    ("takes", "answers", "attempts"),
    [
        (lambda iv: True, written, 1),
        (lambda iv: len(iv) == 12 and not any(iv), written, 2),
        (lambda iv: not iv, lambda parameters, sealed: sealed + IV, 3),
        (lambda iv: True, lambda parameters, sealed: sealed + IV, 1),
    ],
    ids=["ours is overwritten", "zeros are overwritten", "none, appended", "ours is ignored"],
)
def test_the_iv_that_the_device_chose_is_stored(token, known, takes, answers, attempts):
    root_key = token.root_key(known)
    with Device(takes, answers) as device:
        wrapped = root_key.wrap(material(), CONTEXT).material
    assert len(device.offered) == attempts
    assert wrapped[:15] == b"\x01\x01\x0c" + IV
    assert root_key.unwrap(wrapped, CONTEXT) == MATERIAL


def test_nothing_is_stored_under_an_iv_of_zeros(token, known):
    root_key = token.root_key(known)
    with (
        Device(lambda iv: iv == bytes(12), lambda parameters, sealed: sealed),
        pytest.raises(ValueError, match="does not say which IV"),
    ):
        root_key.wrap(material(), CONTEXT)


def test_a_device_that_takes_no_iv_at_all(token, known):
    root_key = token.root_key(known)
    with (
        Device(lambda iv: False, None) as device,
        pytest.raises(Exception, match="CKR_MECHANISM_PARAM_INVALID"),
    ):
        root_key.wrap(material(), CONTEXT)
    assert [len(iv) for iv in device.offered] == [12, 12, 0]


def test_a_token_that_hides_what_it_unwrapped(token, known):
    root_key = token.root_key(known, mechanism="AES_KEY_WRAP_PAD")
    wrapped = root_key.wrap(material(), CONTEXT).material
    original = pkcs11.Session.getAttributeValue

    def hidden(session, key, attributes, **options):
        if attributes == [pkcs11.CKA_VALUE]:
            return [None]
        return original(session, key, attributes, **options)

    with (
        mock.patch.object(pkcs11.Session, "getAttributeValue", hidden),
        pytest.raises(ValueError, match="does not show what it unwrapped: use AES_GCM"),
    ):
        root_key.unwrap(wrapped, CONTEXT)
