"""Fernet tokens, and what django-cryptography makes of them: the same layout with other keys.

`80`, the time in 8 bytes, an IV, AES-CBC with PKCS7, and HMAC-SHA-256 over all before. A Fernet
token is that in base64url, with one key of 32 bytes: the first half for the MAC, the second for
AES-128.
"""

import re
from base64 import urlsafe_b64decode
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.padding import PKCS7

from envelope_fields.crypto.buffers import KeyBuffer

VERSION: Final = b"\x80"
_IV_AT: Final = 9
_CIPHERTEXT_AT: Final = 25
_MAC_BYTES: Final = 32
_BLOCK_BYTES: Final = 16
_SHORTEST: Final = _CIPHERTEXT_AT + _BLOCK_BYTES + _MAC_BYTES
_FERNET: Final = re.compile(rb"gA[A-Za-z0-9_-]+={0,2}").fullmatch
_RESEMBLES: Final = re.compile(rb"gAAAAA[A-Za-z0-9_-]{14,}={0,2}\s*").fullmatch


def is_raw(stored: bytes) -> bool:
    """Whether bytes have the form of a token that is not written as text."""
    size = len(stored)
    has_size = size >= _SHORTEST and (size - _SHORTEST) % _BLOCK_BYTES == 0
    return has_size and stored.startswith(VERSION)


def decoded(stored: bytes) -> bytes | None:
    """Return a Fernet token without its base64url; None for what does not have its form."""
    if len(stored) % 4 or not _FERNET(stored):
        return None
    raw = urlsafe_b64decode(stored)
    return raw if is_raw(raw) else None


def resembles(stored: bytes) -> bool:
    """Whether bytes begin as Fernet tokens of our time do and go on so: whole ones, or cut off."""
    return bool(_RESEMBLES(stored))


def has_mac(raw: bytes, key: KeyBuffer) -> bool:
    """Whether a token, not written as text, was made with a MAC key."""
    hmac = HMAC(key, SHA256())
    hmac.update(raw[:-_MAC_BYTES])
    try:
        hmac.verify(raw[-_MAC_BYTES:])
    except Exception:  # it holds nothing, and says no more
        return False
    return True


def plaintext(raw: bytes, key: KeyBuffer) -> bytes:
    """Return what is in a token with a right MAC; `ValueError` if its padding is not right."""
    decryptor = Cipher(AES(key), CBC(raw[_IV_AT:_CIPHERTEXT_AT])).decryptor()
    padded = decryptor.update(raw[_CIPHERTEXT_AT:-_MAC_BYTES]) + decryptor.finalize()
    unpadder = PKCS7(_BLOCK_BYTES * 8).unpadder()
    return unpadder.update(padded) + unpadder.finalize()
