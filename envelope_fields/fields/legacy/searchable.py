"""What django-searchable-encrypted-fields has stored: AES-256-GCM, and a nonce of 16 bytes."""

from typing import ClassVar, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.core.exceptions import ImproperlyConfigured

from envelope_fields.conf.named import as_bytes
from envelope_fields.crypto.buffers import KeyBuffer
from envelope_fields.fields.legacy.base import Content, LegacyFormat, NotOpened, numbered
from envelope_fields.keyring import legacy as keyring

_NONCE: Final = slice(16)
_TAG: Final = slice(16, 32)
_CIPHERTEXT: Final = slice(32, None)
_KEY_SIZES: Final = (16, 24, 32)


class SearchableEncryptedFields(LegacyFormat):
    """What django-searchable-encrypted-fields has stored. Its first byte is random.

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
        secrets = name.values()
        named = zip(numbered(name, len(secrets)), secrets, strict=True)
        return [(called, _decoded(called, as_bytes(each))) for called, each in named]


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
