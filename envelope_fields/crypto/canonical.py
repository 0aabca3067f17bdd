"""Values of every type as canonical bytes: what is encrypted, and what a value is bound to.

Each value has one form, each form is read as one value, and what is written never changes
(`docs/spec/canonical-values-v1.md`). Reading is strict: bytes of another form are an error, which
does not show them.
"""

import struct
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Final, NamedTuple
from uuid import UUID, SafeUUID

from envelope_fields.crypto import context
from envelope_fields.crypto.addresses import packed

# Where digits stand tells whether what could be read has the form that is written.
_AS_ZEROS: Final = bytes.maketrans(b"123456789", b"0" * 9)
_DATE: Final = b"0000-00-00"
_TIME: Final = b"00:00:00.000000"
_DATETIMES: Final = (_DATE + b"T" + _TIME + b"Z", _DATE + b"T" + _TIME)
_HOUR: Final = slice(11, 13)
_MIDNIGHT: Final = b"24"  # from 3.14 on, Python reads it as that of the next day
_MICROSECOND: Final = timedelta(microseconds=1)
_BINARY64: Final = struct.Struct("<d")
_NAN: Final = bytes.fromhex("000000000000f87f")
_BOOLEANS: Final = {b"false": False, b"true": True}
_OF_UUID: Final = 16  # bytes
_new, _set, _unknown = object.__new__, object.__setattr__, SafeUUID.unknown
_is_uuid_known: Final = UUID.__slots__ == ("int", "is_safe", "__weakref__")
_LENGTHS: Final = (4, 16)  # of addresses
_NULL: Final = b"\x00"
_VALUE: Final = b"\x01"


class CanonicalType(NamedTuple):
    """A type of values.

    Attributes:
        name: what the specification calls it.
        encode: returns the bytes of a value; TypeError or ValueError for what is not one.
        decode: returns the value of bytes; ValueError for what is not the form of one.
    """

    name: str
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]


def _type(name: str, encode: Callable[[Any], bytes], read: Callable[[bytes], Any]) -> CanonicalType:
    """Return a type, of what reads its bytes and raises for another form of a value."""

    def decode(data: bytes) -> Any:
        try:
            return read(data)
        except (ValueError, ArithmeticError, LookupError, struct.error):
            pass
        # Raised from here, since the other errors show what they could not read.
        raise ValueError(f"not the canonical bytes of a value of the type {name}")

    return CanonicalType(name, encode, decode)


def _text(value: str) -> bytes:
    return value.encode()


def _integer(value: int) -> bytes:
    return b"%d" % value


def _read_integer(data: bytes) -> int:
    value = int(data)
    if b"%d" % value != data:
        raise ValueError
    return value


def _boolean(value: bool) -> bytes:
    if value is not True and value is not False:
        raise TypeError("neither true nor false")
    return b"true" if value else b"false"


def _decimal(value: Decimal) -> bytes:
    return str(value).encode()


def _read_decimal(data: bytes) -> Decimal:
    text = data.decode("ascii")
    value = Decimal(text)
    if str(value) != text:
        raise ValueError
    return value


def _float(value: float) -> bytes:
    return _NAN if value != value else _BINARY64.pack(value)


def _read_float(data: bytes) -> float:
    value: float = _BINARY64.unpack(data)[0]
    if value != value and data != _NAN:
        raise ValueError
    return value


def _date(value: date) -> bytes:
    return value.isoformat().encode()


def _read_date(data: bytes) -> date:
    if data.translate(_AS_ZEROS) != _DATE:
        raise ValueError
    return date.fromisoformat(data.decode())


def _datetime(value: datetime) -> bytes:
    if value.tzinfo is None:
        return value.isoformat("T", "microseconds").encode()
    utc = (value if value.tzinfo is UTC else value.astimezone(UTC)).replace(tzinfo=None)
    return utc.isoformat("T", "microseconds").encode() + b"Z"


def _read_datetime(data: bytes) -> datetime:
    if data.translate(_AS_ZEROS) not in _DATETIMES or data[_HOUR] == _MIDNIGHT:
        raise ValueError
    return datetime.fromisoformat(data.decode())


def _time(value: time) -> bytes:
    if value.tzinfo is not None:
        raise ValueError("a time of day has no time zone")
    return value.isoformat("microseconds").encode()


def _read_time(data: bytes) -> time:
    if data.translate(_AS_ZEROS) != _TIME or data.startswith(_MIDNIGHT):
        raise ValueError
    return time.fromisoformat(data.decode())


def _duration(value: timedelta) -> bytes:
    return _integer(value // _MICROSECOND)


def _read_duration(data: bytes) -> timedelta:
    return _MICROSECOND * _read_integer(data)


def _uuid(value: UUID) -> bytes:
    return value.bytes


def _read_uuid(data: bytes) -> UUID:
    if not _is_uuid_known or len(data) != _OF_UUID:
        return UUID(bytes=data)
    # As its constructor does, which asks first in which of five forms it was given. It takes half
    # the time of opening a value; psycopg makes them in this way, too.
    value = _new(UUID)
    _set(value, "int", int.from_bytes(data))
    _set(value, "is_safe", _unknown)
    return value


def _address(value: str | bytes | IPv4Address | IPv6Address) -> bytes:
    """Return the bytes of an address, which may be given as such."""
    found = value if type(value) is bytes else packed(value) if type(value) is str else None
    if found is not None and len(found) in _LENGTHS:
        return found
    address = ip_address(value)
    if getattr(address, "scope_id", None) is not None:
        raise ValueError("an address that is stored has no zone")
    return address.packed


def _read_address(data: bytes) -> IPv4Address | IPv6Address:
    return ip_address(data)


def _binary(value: bytes | bytearray | memoryview) -> bytes:
    if not isinstance(value, bytes | bytearray | memoryview):
        raise TypeError("bytes of a number are as many zeros")
    return bytes(value)


TEXT: Final = _type("text", _text, bytes.decode)
INTEGER: Final = _type("integer", _integer, _read_integer)
BOOLEAN: Final = _type("boolean", _boolean, _BOOLEANS.__getitem__)
DECIMAL: Final = _type("decimal", _decimal, _read_decimal)
FLOAT: Final = _type("float", _float, _read_float)
DATE: Final = _type("date", _date, _read_date)
DATETIME: Final = _type("datetime", _datetime, _read_datetime)
TIME: Final = _type("time", _time, _read_time)
DURATION: Final = _type("duration", _duration, _read_duration)
UUID_BYTES: Final = _type("uuid", _uuid, _read_uuid)
ADDRESS: Final = _type("ip address", _address, _read_address)
BINARY: Final = _type("binary", _binary, bytes)


def array(of: CanonicalType) -> CanonicalType:
    """Return the type of lists of values of a type, or of None."""

    def encode(values: list[Any]) -> bytes:
        return context.encode(nullable(value, of) for value in values)

    def read(data: bytes) -> list[Any]:
        values = [None if part == _NULL else _of_part(part) for part in context.decode(data)]
        if encode(values) != data:
            raise ValueError
        return values

    def _of_part(part: bytes) -> Any:
        if not part.startswith(_VALUE):
            raise ValueError
        return of.decode(part[len(_VALUE) :])

    return _type(f"array of {of.name}", encode, read)


def nullable(value: Any, of: CanonicalType) -> bytes:
    """Return a value, or None, as one of several parts: of an array, or of a context."""
    return _NULL if value is None else _VALUE + of.encode(value)
