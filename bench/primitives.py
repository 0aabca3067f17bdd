"""The cryptography of one envelope, written by hand.

The same calls on the same bytes, with the data key in a buffer that is wiped, and with the
wrapping key derived once. No keyring, no policy, no errors that explain, no Django: what no
field can be faster than.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from time import perf_counter

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from envelope_fields.crypto import xaes
from envelope_fields.crypto.buffers import RandomParts
from envelope_fields.crypto.context import field_context

_PREFIX = os.urandom(12)
_HEADER = b"\x01" + os.urandom(8)
_DERIVED = xaes.derive(bytearray(os.urandom(32)), _PREFIX)
_KEYS = {_HEADER + _PREFIX: _DERIVED}
_CONTEXT = field_context("bench.encrypted.value")
_ZEROS = bytearray(32)
_random = RandomParts(12, 32)


def encrypt(value: str) -> bytes:
    drawn = _random.draw()
    suffix, data_key, _ = drawn
    try:
        wrapped = _DERIVED.encrypt(suffix, data_key, _HEADER + _CONTEXT)
        payload = AESGCM(data_key).encrypt(bytes(12), value.encode(), b"\x01")
        envelope = b"".join((_HEADER, _PREFIX, suffix, wrapped, payload))
    finally:
        data_key[:] = _ZEROS
    _random.put_back(drawn)
    return envelope


def decrypt(envelope: bytes) -> str:
    derived = _KEYS[envelope[:21]]
    data_key = bytearray(32)
    try:
        derived.decrypt_into(envelope[21:33], envelope[33:81], envelope[:9] + _CONTEXT, data_key)
        return AESGCM(data_key).decrypt(bytes(12), envelope[81:], b"\x01").decode()
    finally:
        data_key[:] = _ZEROS


def reading(values: Sequence[str]) -> Callable[[], float]:
    """Return what decrypts `values` and says how many seconds each took."""
    return _timing(decrypt, [encrypt(value) for value in values])


def writing(values: Sequence[str]) -> Callable[[], float]:
    """Return what encrypts `values` and says how many seconds each took."""
    return _timing(encrypt, values)


def _timing(function: Callable, inputs: Sequence[str | bytes]) -> Callable[[], float]:
    def run() -> float:
        started = perf_counter()
        for value in inputs:
            function(value)
        return (perf_counter() - started) / len(inputs)

    return run
