"""The packages that store Fernet tokens: one reader, and how each makes keys of its settings."""

import json
from abc import abstractmethod
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterator, Sequence
from datetime import tzinfo
from typing import Any, ClassVar, Final, NamedTuple, TypeVar

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from django.core.exceptions import ImproperlyConfigured
from django.db.models import JSONField
from django.utils.timezone import get_default_timezone

from envelope_fields.conf.named import NamedSetting, as_bytes
from envelope_fields.crypto.buffers import KeyBuffer
from envelope_fields.fields.legacy import tokens
from envelope_fields.fields.legacy.base import LAYERS, Content, LegacyFormat, NotOpened, secrets_of
from envelope_fields.keyring import legacy as keyring

_Result = TypeVar("_Result")

_KEY_BYTES: Final = 32
_MAC_KEY = slice(16)
_AES_KEY = slice(16, 32)


class _Key(NamedTuple):
    """A Fernet key that follows from settings."""

    name: str
    parts: tuple[bytes, ...]  # what it follows from
    derive: Callable[[], KeyBuffer]

    def __repr__(self) -> str:
        return f"<key {self.name}>"

    def used(self, purpose: str, use: Callable[[KeyBuffer], _Result]) -> _Result:
        """Return what `use` makes of the key."""
        return keyring.used(purpose, self.parts, self.derive, use)


class FernetFormat(LegacyFormat):
    """Opens Fernet tokens, also those that are in another one.

    A text that is a token and does not open is not a value: it was encrypted once more where its
    own key was lost, or is under a key that the settings do not have.
    """

    prefix: ClassVar = "gAAAAA"  # of the years until 2106

    def claims(self, stored: bytes) -> bool:
        return tokens.decoded(stored) is not None

    @abstractmethod
    def keys(self) -> Iterator[_Key]:
        """Yield the keys, in the order in which they are tried; errors as `content`'s."""

    def key_names(self) -> Sequence[str]:
        return [key.name for key in self.keys()]

    def content(self, stored: bytes) -> Content:
        name = ""
        for layers in range(LAYERS + 1):
            raw = tokens.decoded(stored)
            if raw is None and layers:
                return Content(stored, name, layers)
            if raw is None or layers == LAYERS:
                break
            name, stored = self._opened(raw)
        raise NotOpened

    def _opened(self, raw: bytes) -> tuple[str, bytes]:
        for key in self.keys():
            found = key.used(self.package, lambda buffer: _plaintext(raw, buffer))
            if found is not None:
                return key.name, found
        raise NotOpened


def _plaintext(raw: bytes, key: KeyBuffer) -> bytes | None:
    """Return what is in a token, if it was made with a key."""
    halves = KeyBuffer(key[_MAC_KEY]), KeyBuffer(key[_AES_KEY])
    try:
        return tokens.plaintext(raw, halves[1]) if tokens.has_mac(raw, halves[0]) else None
    finally:
        for half in halves:
            half[:] = bytes(len(half))


class FernetFields(FernetFormat):
    """What django-fernet-fields, django-fernet-fields-v2 and djfernet have stored.

    Args:
        keys: of the setting with their keys.
        secret_key: of what they take where that is not set.
        use_hkdf: of whether their keys are derived from these, as they are unless it is off.
        prefix: of salt and info, which djfernet has as DJFERNET_PREFIX; the text itself.
    """

    package: ClassVar = "django-fernet-fields"
    first_byte: ClassVar = b"g"
    shares_column: ClassVar = True

    def __init__(
        self,
        keys: str = "FERNET_KEYS",
        secret_key: str | None = "SECRET_KEY",  # noqa: S107 - the name of a setting
        use_hkdf: str | None = "FERNET_USE_HKDF",
        prefix: str = "django-fernet-fields",
    ) -> None:
        super().__init__(keys=keys, secret_key=secret_key)
        self._use_hkdf = NamedSetting(use_hkdf)
        self._prefix = prefix.encode()

    def keys(self) -> Iterator[_Key]:
        found = list(secrets_of(self.setting("keys")))
        if not found:
            name = self.setting("secret_key")
            found = [(f"{name.name}", as_bytes(name.required()))]
        make = self._derived if self._use_hkdf.is_true(default=True) else as_it_is
        return (make(*each) for each in found)

    def _derived(self, called: str, secret: bytes) -> _Key:
        prefix = self._prefix

        def derive() -> KeyBuffer:
            key = KeyBuffer(_KEY_BYTES)
            salt = prefix + b"-hkdf-salt"
            HKDF(SHA256(), _KEY_BYTES, salt=salt, info=prefix).derive_into(secret, key)
            return key

        return _Key(called, (b"hkdf", prefix, secret), derive)


def as_it_is(called: str, secret: bytes) -> _Key:
    """Return a key that a setting has as Fernet takes it, or raise `ImproperlyConfigured`."""
    try:
        decoded = urlsafe_b64decode(secret)
    except ValueError:
        decoded = b""
    if len(decoded) != _KEY_BYTES:
        raise ImproperlyConfigured(
            f"{called} is not a Fernet key: 32 bytes in base64url. Keys that are derived from it "
            "take no such form; see the settings of the package that stored the values."
        )
    return _Key(called, (b"raw", secret), lambda: KeyBuffer(decoded))


class EncryptedModelFields(FernetFormat):
    """What django-encrypted-model-fields has stored, as text.

    Args:
        keys: of the setting with their key, or a list.
    """

    package: ClassVar = "django-encrypted-model-fields"

    def __init__(self, keys: str = "FIELD_ENCRYPTION_KEY") -> None:
        super().__init__(keys=keys)

    def naive_zone(self, of_database: tzinfo | None) -> tzinfo:
        return get_default_timezone()  # in which its fields take what has none

    def keys(self) -> Iterator[_Key]:
        name = self.setting("keys")
        name.required()
        return (as_it_is(*each) for each in secrets_of(name))


class FernetEncryptedFields(FernetFormat):
    """What django-fernet-encrypted-fields, of jazzband, has stored, as text; JSON as JSON.

    In JSON, the names are in clear, and each leaf is a token of its text: whether it was a number,
    `true` or `null` is lost, and it is read as that text, as the package reads it.

    Args:
        secret_key: of the secret that their keys are derived from.
        fallbacks: of earlier ones.
        salt: of their salt, or a list.
    """

    package: ClassVar = "django-fernet-encrypted-fields"

    def __init__(
        self,
        secret_key: str = "SECRET_KEY",  # noqa: S107 - the name of a setting
        fallbacks: str | None = "SECRET_KEY_FALLBACKS",
        salt: str = "SALT_KEY",
    ) -> None:
        super().__init__(secret_key=secret_key, fallbacks=fallbacks, salt=salt)

    def claims_of(self, field: Any, stored: bytes) -> bool:
        if self.claims(stored) or not isinstance(field, JSONField):
            return self.claims(stored)
        leaves = list(_leaves_of(_json_of(stored)))
        return not leaves or any(map(self._is_token, leaves))

    def _is_token(self, leaf: Any) -> bool:
        return isinstance(leaf, str) and self.claims(leaf.encode(errors="replace"))

    def keys(self) -> Iterator[_Key]:
        own, fallbacks, salt = map(self.setting, ("secret_key", "fallbacks", "salt"))
        salt.required()
        named = [(f"{own.name}", as_bytes(own.required())), *secrets_of(fallbacks)]
        for called, secret in named:
            for with_salt, each in secrets_of(salt):
                yield _stretched(f"{called} with {with_salt}", secret, each)

    def content(self, stored: bytes) -> Content:
        if self.claims(stored):
            return super().content(stored)
        met: list[Content] = []
        found = self._leaves(json.loads(stored), met)
        return Content(found, met[0].key if met else "", max((e.layers for e in met), default=1))

    def _leaves(self, part: Any, met: list[Content]) -> Any:
        if isinstance(part, dict):
            return {name: self._leaves(each, met) for name, each in part.items()}
        if isinstance(part, list):
            return [self._leaves(each, met) for each in part]
        if not isinstance(part, str):
            raise NotOpened
        leaf = super().content(part.encode())
        met.append(leaf)
        return leaf.stored.decode()


def _json_of(stored: bytes) -> Any:
    """Return JSON; None where it is not."""
    try:
        return json.loads(stored)
    except (ValueError, RecursionError):
        return None


def _leaves_of(part: Any) -> Iterator[Any]:
    """Yield what is in JSON beside names, lists and dictionaries."""
    parts = [part]  # not by calls, which are bounded: JSON may be deep
    while parts:
        each = parts.pop()
        if isinstance(each, dict | list):
            parts += each.values() if isinstance(each, dict) else each
        else:
            yield each


def _stretched(called: str, secret: bytes, salt: bytes) -> _Key:
    def derive() -> KeyBuffer:
        key = KeyBuffer(_KEY_BYTES)
        PBKDF2HMAC(SHA256(), _KEY_BYTES, salt, 100_000).derive_into(secret, key)
        return key

    return _Key(called, (b"pbkdf2", salt, secret), derive)
