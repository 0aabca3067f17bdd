"""A reader of what another package has stored: what it claims, and how it opens that."""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from ipaddress import ip_address
from typing import Any, ClassVar, NamedTuple
from uuid import UUID

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import models
from django.utils import timezone

from envelope_fields.conf.named import NamedSetting, as_bytes
from envelope_fields.crypto import format as layout
from envelope_fields.exceptions import DecryptionFailed
from envelope_fields.fields.legacy import tokens

_BYTES = (bytes, bytearray, memoryview)
LAYERS = 3  # packages that swallow a failure encrypt a token once more, and some twice


class Content(NamedTuple):
    """What was in a stored value, before it is a value of a field; see `LegacyValue`."""

    stored: Any  # the bytes of a text; or, where the package pickled it, the object
    key: str = ""  # `FERNET_KEYS[0]`; empty without one
    layers: int = 1

    def __repr__(self) -> str:
        return f"<Content under {self.key}>"


class LegacyValue(NamedTuple):
    """A value that another package has stored.

    Attributes:
        value: as the package would have read it, in the type of the field.
        key: which key opened it, by the name of a setting.
        layers: how often it was encrypted.
    """

    value: Any
    key: str
    layers: int

    def __repr__(self) -> str:
        return f"<LegacyValue under {self.key}>"


class NotOpened(ValueError):
    """No key that is configured opens a value, or what is in it is not one."""


class LegacyFormat(ABC):
    """A reader of another package's format. Arguments name settings, and hold no keys.

    Attributes:
        package: the package, as the registry of packages has it.
        first_byte: what each stored value begins with, where the format can be told by that.
        prefix: the same of a text, by which databases count what is beside plaintext.
        shares_column: whether it can be read in the very column of an encrypted field.
        is_clear: whether what is stored is not encrypted at all.
    """

    package: ClassVar[str]
    first_byte: ClassVar[bytes] = b""
    prefix: ClassVar[str] = ""
    shares_column: ClassVar[bool] = False
    is_clear: ClassVar[bool] = False

    def __init__(self, **names: str | None) -> None:
        self._settings: Mapping[str, NamedSetting] = {
            argument: NamedSetting(name) for argument, name in names.items()
        }

    def setting(self, argument: str) -> NamedSetting:
        """Return the setting that an argument names."""
        return self._settings[argument]

    def claims(self, stored: bytes) -> bool:
        """Whether stored bytes have the form of this format, by which its reader opens them."""
        return stored.startswith(self.first_byte)

    def claims_of(self, field: Any, stored: bytes) -> bool:
        """Whether stored bytes have the form that this format has in a field of that type."""
        return self.claims(stored)

    @abstractmethod
    def content(self, stored: bytes) -> Content:
        """Return what is in stored bytes.

        Raises:
            NotOpened, ValueError: no key opens them, or not to content.
            ImproperlyConfigured: a setting is missing, or not a key.
        """

    def key_names(self) -> Sequence[str]:
        """Return the names of the keys that are tried; errors as `content`'s."""
        return []

    def read(self, stored: Any, field: Any, time_zone: tzinfo | None = None) -> LegacyValue:
        """Return a stored value in the type of a field.

        Args:
            stored: bytes, or text where the column has that.
            field: the encrypted field.
            time_zone: of the database, in which the package stored moments without one.

        Raises:
            DecryptionFailed: a wrong MAC, padding or content, which are not told apart. Nothing
                of the value is in it, nor in what it is chained to.
            ImproperlyConfigured: a setting is missing, or not a key.
        """
        problem: Exception
        try:
            return self._value(stored, field, time_zone)
        except ImproperlyConfigured as error:  # without its frames, whose variables hold keys
            problem = ImproperlyConfigured(*error.args)
        except Exception:  # what a decoder could not read is in it
            problem = self._unreadable(field)
        del stored  # which may be in clear, and error reports show variables
        raise problem

    def _value(self, stored: Any, field: Any, time_zone: tzinfo | None) -> LegacyValue:
        found = self.content(_as_bytes(stored))
        value = of_field(field, found.stored, self.naive_zone(time_zone))
        return LegacyValue(value, found.key, found.layers)

    def naive_zone(self, of_database: tzinfo | None) -> tzinfo:
        """Return the time zone of moments that are stored without one: that of the database."""
        return of_database or UTC

    def _unreadable(self, field: Any) -> DecryptionFailed:
        return DecryptionFailed(
            f"{field}: a value that {self.package} has stored cannot be read: it is under another "
            f"key than {self._tried()}, or altered, or not a value of this field."
        )

    def _tried(self) -> str:
        named = [each for each in self._settings.values() if each.name is not None]
        return " and ".join(map(str, dict.fromkeys(named))) or "none"

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(type(self))

    def _identity(self) -> Mapping[str, Any]:
        return vars(self)


class Plaintext(LegacyFormat):
    """What was never encrypted, as UTF-8. What another reader claims is not read by it.

    Nor is what only stands for a value: a Fernet token, also one that was cut off or whose reader
    is not declared, or the text of an envelope. As a value, it would be encrypted once more.
    """

    package: ClassVar = "plaintext"
    shares_column: ClassVar = True
    is_clear: ClassVar = True

    def __init__(self) -> None:
        super().__init__()

    def claims(self, stored: bytes) -> bool:
        is_other = stored.startswith((layout.FORMAT_VERSION, layout.TEXT_PREFIX.encode()))
        return not is_other and not tokens.resembles(stored)

    def content(self, stored: bytes) -> Content:
        if not self.claims(stored):
            raise NotOpened
        return Content(stored, layers=0)


def _as_bytes(stored: Any) -> bytes:
    """Return stored bytes, or those of a text; of a number, `bytes()` would make zeros."""
    if not isinstance(stored, (str, *_BYTES)):
        raise TypeError("neither bytes nor text")
    return stored.encode() if isinstance(stored, str) else bytes(stored)


def secrets_of(name: NamedSetting) -> Iterator[tuple[str, bytes]]:
    """Yield the keys of a setting, and what each is called: with its place where several are."""
    secrets = name.values()
    for index, secret in enumerate(secrets):
        yield f"{name.name}[{index}]" if len(secrets) > 1 else f"{name.name}", as_bytes(secret)


def is_envelope(stored: Any) -> bool:
    """Whether a stored value begins as an envelope does; SQLite stores any type."""
    return isinstance(stored, _BYTES) and bytes(stored[:1]) == layout.FORMAT_VERSION


# -- Values ----------------------------------------------------------------------------------------


_MICROSECOND = timedelta(microseconds=1)
_TEXT = (models.CharField, models.TextField, models.FilePathField)

# The types of values, exactly: `True` is an `int`, and a `datetime` is a `date`. Of several field
# classes that a field is one of, the first counts.
_TYPES: tuple[tuple[type, tuple[type, ...]], ...] = (
    (models.BinaryField, (bytes,)),
    *((kind, (str,)) for kind in _TEXT),
    (models.IntegerField, (int,)),
    (models.BooleanField, (bool,)),
    (models.FloatField, (float, int)),
    (models.DecimalField, (Decimal,)),
    (models.DateTimeField, (datetime,)),
    (models.DateField, (date,)),
    (models.TimeField, (time,)),
    (models.DurationField, (timedelta,)),
    (models.UUIDField, (UUID,)),
)


class NotOfField(ValueError):
    """A value that was stored is not one of the field."""


def of_field(field: Any, stored: Any, naive_zone: tzinfo = UTC) -> Any:
    """Return the value of a field.

    Args:
        stored: the bytes of a text, or an object that was pickled.
        naive_zone: the time zone of moments that were stored without one.

    Raises:
        Exception: it is not a value of the field.
    """
    is_text = type(stored) is bytes and not isinstance(field, models.BinaryField)
    value = _of_text(field, stored.decode()) if is_text else _typed(field, stored)
    return _in_zone(value, naive_zone) if type(value) is datetime else value


def _of_text(field: Any, text: str) -> Any:
    if isinstance(field, _TEXT):
        return text
    if isinstance(field, models.JSONField):
        return json.loads(text, cls=field.decoder)
    if isinstance(field, models.DurationField) and text.removeprefix("-").isdecimal():
        return int(text) * _MICROSECOND  # as databases have it that know no durations
    return _typed(field, field.to_python(text))


def _typed(field: Any, value: Any) -> Any:
    """Return an object whose type is that of the field."""
    if isinstance(field, models.JSONField):
        return json.loads(value, cls=field.decoder) if type(value) is str else _only_json(value)
    if isinstance(field, models.GenericIPAddressField):
        return str(ip_address(value))
    types = next((types for kind, types in _TYPES if isinstance(field, kind)), ())
    if type(value) not in types:
        raise NotOfField("not of the type of the field")
    return float(value) if types[0] is float else value


def _only_json(value: Any) -> Any:
    """Return what is of the types that JSON has."""
    if type(value) is dict and all(type(name) is str for name in value):
        return {name: _only_json(each) for name, each in value.items()}
    if type(value) is list:
        return list(map(_only_json, value))
    if value is not None and type(value) not in (str, int, float, bool):
        raise NotOfField("not JSON")
    return value


def _in_zone(value: datetime, naive_zone: tzinfo) -> datetime:
    """Return a moment as the field gives it: with a time zone where the project has them."""
    if settings.USE_TZ:
        return value.replace(tzinfo=naive_zone) if timezone.is_naive(value) else value
    if timezone.is_aware(value):
        return timezone.make_naive(value, timezone.get_default_timezone())
    return value
