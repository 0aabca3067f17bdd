"""What django-cryptography has stored: tokens under two keys, with pickles in them."""

from collections.abc import Callable
from typing import Any, ClassVar, Final

from cryptography.hazmat.primitives.hashes import SHA256, Hash, HashAlgorithm
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from django.core.exceptions import ImproperlyConfigured

from envelope_fields.conf.named import as_bytes
from envelope_fields.crypto.buffers import KeyBuffer
from envelope_fields.fields.legacy import pickles, tokens
from envelope_fields.fields.legacy.base import LAYERS, Content, LegacyFormat, NotOpened
from envelope_fields.keyring import legacy as keyring

_ITERATIONS: Final = 30_000
_KEY_SIZES: Final = (16, 24, 32)
_HMAC_BLOCK: Final = 64
_DEFAULT_SALT: Final = "django-cryptography"


class DjangoCryptography(LegacyFormat):
    """What django-cryptography, django-cryptography-5 and django-cryptography-django5 have stored.

    The MAC key is always their SECRET_KEY. A `ttl=` of theirs is not looked at: what had expired
    there is read.

    Args:
        key: of what the key of values is derived from.
        secret_key: of what it is derived from where that is not set, and of the MAC key.
        salt: of the salt, where their settings have one.
        digest: of the hash, where their settings have one.
        field_key: of what a field had as `encrypt(…, key=…)`, which is its key as it is.
    """

    package: ClassVar = "django-cryptography"
    first_byte: ClassVar = tokens.VERSION
    shares_column: ClassVar = True

    def __init__(
        self,
        key: str | None = "CRYPTOGRAPHY_KEY",
        secret_key: str = "SECRET_KEY",  # noqa: S107 - the name of a setting
        salt: str | None = "CRYPTOGRAPHY_SALT",
        *,
        digest: str | None = "CRYPTOGRAPHY_DIGEST",
        field_key: str | None = None,
    ) -> None:
        super().__init__(
            key=key, secret_key=secret_key, salt=salt, digest=digest, field_key=field_key
        )

    def claims(self, stored: bytes) -> bool:
        return tokens.is_raw(stored)

    def key_names(self) -> list[str]:
        return [self._encryption_key()[0]]

    def content(self, stored: bytes) -> Content:
        for layers in range(1, LAYERS + 1):
            name, plaintext = self._opened(stored)
            found = pickles.read(plaintext)
            if not (isinstance(found, bytes) and tokens.is_raw(found) and self._has_mac(found)):
                return Content(found, name, layers)
            stored = found
        raise NotOpened

    def _opened(self, raw: bytes) -> tuple[str, bytes]:
        if not tokens.is_raw(raw) or not self._has_mac(raw):
            raise NotOpened
        name, parts, derive = self._encryption_key()
        return name, keyring.used(
            self.package, parts, derive, lambda key: tokens.plaintext(raw, key)
        )

    def _has_mac(self, raw: bytes) -> bool:
        secret = as_bytes(self.setting("secret_key").required())
        return keyring.used(
            f"{self.package} MAC",
            (secret,),
            lambda: _mac_key(secret),
            lambda key: tokens.has_mac(raw, key),
        )

    def _encryption_key(self) -> tuple[str, tuple[bytes, ...], Callable[[], KeyBuffer]]:
        """Return the name of the key, what it follows from, and what makes it."""
        own = self.setting("field_key")
        if own.name is not None:
            secret = as_bytes(own.required())
            if len(secret) not in _KEY_SIZES:
                raise ImproperlyConfigured(f"{own} is not a key of AES: 16, 24 or 32 bytes.")
            return own.name, (b"raw", secret), lambda: KeyBuffer(secret)
        name = self.setting("key")
        if not name.value():
            name = self.setting("secret_key")
        secret = as_bytes(name.required())
        salt = as_bytes(self.setting("salt").value(_DEFAULT_SALT))
        digest = self._digest()
        parts = (b"pbkdf2", digest.name.encode(), salt, secret)
        return str(name.name), parts, lambda: _derived(secret, salt, digest)

    def _digest(self) -> HashAlgorithm:
        digest: Any = self.setting("digest").value() or SHA256()
        if not isinstance(digest, HashAlgorithm) or digest.digest_size not in _KEY_SIZES:
            raise ImproperlyConfigured(
                f"{self.setting('digest')} is not a hash of `cryptography` whose size is that of "
                "a key of AES."
            )
        return digest


def _derived(secret: bytes, salt: bytes, digest: HashAlgorithm) -> KeyBuffer:
    key = KeyBuffer(digest.digest_size)
    PBKDF2HMAC(digest, digest.digest_size, salt, _ITERATIONS).derive_into(secret, key)
    return key


def _mac_key(secret: bytes) -> KeyBuffer:
    """Return a key of HMAC-SHA-256: a longer one is its hash, as HMAC itself makes it."""
    if len(secret) <= _HMAC_BLOCK:
        return KeyBuffer(secret)
    digest = Hash(SHA256())
    digest.update(secret)
    return KeyBuffer(digest.finalize())
