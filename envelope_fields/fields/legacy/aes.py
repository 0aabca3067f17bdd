"""The packages that encrypt with AES, and have a layout of their own for that."""

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import ClassVar, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC, ECB
from cryptography.hazmat.primitives.padding import PKCS7
from django.core.exceptions import ImproperlyConfigured

from envelope_fields.conf.named import NamedSetting, as_bytes
from envelope_fields.crypto.buffers import KeyBuffer
from envelope_fields.fields.legacy.base import LAYERS, Content, LegacyFormat, NotOpened, secrets_of
from envelope_fields.keyring import legacy as keyring

_KEY_BYTES: Final = 32
_BLOCK_BYTES: Final = 16
_QUOTED: Final = 2  # JSON is a JSON string of a JSON string of a token
_DEFAULT_IV: Final = "1234567890abcdef"
_TOKEN: Final = re.compile(rb"[A-Za-z0-9_-]+={0,2}").fullmatch

# Of django-searchable-encrypted-fields
_NONCE: Final = slice(16)
_TAG: Final = slice(16, 32)
_CIPHERTEXT: Final = slice(32, None)
_KEY_SIZES: Final = (16, 24, 32)


class Mirage(LegacyFormat):
    """What django-mirage-field has stored, as text: AES without a MAC.

    Nothing tells a value that was altered, and a wrong key by its padding alone, which one of 256
    has right: what comes out has to be UTF-8 and a value of the field besides.

    Args:
        key: of the secret whose base64 begins with the key.
        mode: of `ECB` or `CBC`.
        secret_key: of the secret where `key` is not set.
        iv: of the IV, which is the same for all values.
    """

    package: ClassVar = "django-mirage-field"

    def __init__(
        self,
        key: str | None = "MIRAGE_SECRET_KEY",
        mode: str | None = "MIRAGE_CIPHER_MODE",
        *,
        secret_key: str | None = "SECRET_KEY",  # noqa: S107 - the name of a setting
        iv: str | None = "MIRAGE_CIPHER_IV",
    ) -> None:
        super().__init__(key=key, secret_key=secret_key)
        self._mode = NamedSetting(mode)
        self._iv = NamedSetting(iv)

    def claims(self, stored: bytes) -> bool:
        return _ciphertext(stored) is not None

    def key_names(self) -> list[str]:
        return [str(self._secret()[0].name)]

    def content(self, stored: bytes) -> Content:
        name, secret = self._secret()
        for layers in range(LAYERS + 1):
            ciphertext = _ciphertext(stored)
            try:
                stored = self._opened(ciphertext, secret)
            except NotOpened:
                if layers:
                    return Content(stored, str(name.name), layers)
                raise
        raise NotOpened

    def _opened(self, ciphertext: bytes | None, secret: bytes) -> bytes:
        if ciphertext is None:
            raise NotOpened
        mode = self._cipher_mode()

        def plaintext(key: KeyBuffer) -> bytes | None:
            decryptor = Cipher(AES(key), mode).decryptor()
            padded = decryptor.update(ciphertext) + decryptor.finalize()
            unpadder = PKCS7(_BLOCK_BYTES * 8).unpadder()
            try:
                found = unpadder.update(padded) + unpadder.finalize()
                found.decode()
            except ValueError:
                return None
            return found

        found = keyring.used(self.package, (secret,), lambda: KeyBuffer(_key(secret)), plaintext)
        if found is None:
            raise NotOpened
        return found

    def _secret(self) -> tuple[NamedSetting, bytes]:
        name = self.setting("key")
        if not name.value():
            name = self.setting("secret_key")
        secret = as_bytes(name.required())
        if len(secret) < _KEY_BYTES:
            raise ImproperlyConfigured(f"{name} is shorter than {_KEY_BYTES} characters.")
        return name, secret

    def _cipher_mode(self) -> ECB | CBC:
        mode = self._mode.value("ECB")
        if mode == "ECB":
            return ECB()  # noqa: S305 - it is only read
        if mode == "CBC":
            return CBC(as_bytes(self._iv.value(_DEFAULT_IV)))
        raise ImproperlyConfigured(f"{self._mode} is neither 'ECB' nor 'CBC'.")


def _key(secret: bytes) -> bytes:
    return urlsafe_b64encode(secret)[:_KEY_BYTES]


def _unquoted(stored: bytes) -> bytes:
    """Return the text of a JSON string; what only begins like one is not a token, and stays."""
    try:
        return str(json.loads(stored)).encode()
    except ValueError:
        return stored


def _ciphertext(stored: bytes) -> bytes | None:
    """Return what is in base64url; None for what has not its form."""
    for _ in range(_QUOTED):
        if stored.startswith(b'"'):
            stored = _unquoted(stored)
    if len(stored) % 4 or not _TOKEN(stored):
        return None
    ciphertext = urlsafe_b64decode(stored)
    return ciphertext if len(ciphertext) % _BLOCK_BYTES == 0 else None


class SearchableEncryptedFields(LegacyFormat):
    """What django-searchable-encrypted-fields has stored: AES-256-GCM with a nonce of 16 bytes.

    Its first byte is random.

    Args:
        keys: of the list of their keys, in hexadecimal.
    """

    package: ClassVar = "django-searchable-encrypted-fields"

    def __init__(self, keys: str = "FIELD_ENCRYPTION_KEYS") -> None:
        super().__init__(keys=keys)

    def claims(self, stored: bytes) -> bool:
        return len(stored) >= _TAG.stop

    def key_names(self) -> list[str]:
        return [name for name, _ in self._keys()]

    def content(self, stored: bytes) -> Content:
        if not self.claims(stored):
            raise NotOpened
        sealed = stored[_CIPHERTEXT] + stored[_TAG]
        for name, secret in self._keys():
            found = keyring.used(
                self.package,
                (secret,),
                lambda secret=secret: KeyBuffer(secret),  # type: ignore[misc]
                lambda key: _plaintext(key, stored[_NONCE], sealed),
            )
            if found is not None:
                return Content(found, name)
        raise NotOpened

    def _keys(self) -> list[tuple[str, bytes]]:
        name = self.setting("keys")
        name.required()
        return [(called, _decoded(called, each)) for called, each in secrets_of(name)]


def _decoded(called: str, secret: bytes) -> bytes:
    try:
        decoded = bytes.fromhex(secret.decode())
    except ValueError:
        decoded = b""
    if len(decoded) not in _KEY_SIZES:
        raise ImproperlyConfigured(f"{called} is not a key of AES in hexadecimal.")
    return decoded


def _plaintext(key: KeyBuffer, nonce: bytes, sealed: bytes) -> bytes | None:
    try:
        return AESGCM(key).decrypt(nonce, sealed, None)
    except InvalidTag:
        return None
