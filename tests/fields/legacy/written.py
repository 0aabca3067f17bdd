"""Writes what other packages store, with the settings of the tests; vectors hold both to these."""

import base64
import os
import pickle
import struct

from cryptography.fernet import Fernet
from cryptography.hazmat.primitives import hashes, padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from django.conf import settings


def fernet(text, secret=None):
    """Return what django-fernet-fields stores."""
    prefix = b"django-fernet-fields"
    kdf = HKDF(hashes.SHA256(), 32, salt=prefix + b"-hkdf-salt", info=prefix)
    key = base64.urlsafe_b64encode(kdf.derive((secret or settings.SECRET_KEY).encode()))
    return Fernet(key).encrypt(text if isinstance(text, bytes) else str(text).encode())


def cryptography(value, secret=None):
    """Return what django-cryptography stores."""
    secret = (secret or settings.SECRET_KEY).encode()
    key = PBKDF2HMAC(hashes.SHA256(), 32, b"django-cryptography", 30_000).derive(secret)
    padder = padding.PKCS7(128).padder()
    padded = padder.update(pickle.dumps(value)) + padder.finalize()
    iv = os.urandom(16)
    encryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    token = struct.pack(">cQ", b"\x80", 0) + iv + encryptor.update(padded) + encryptor.finalize()
    mac = HMAC(secret, hashes.SHA256())
    mac.update(token)
    return token + mac.finalize()
