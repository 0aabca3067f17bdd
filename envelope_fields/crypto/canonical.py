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
from operator import attrgetter, methodcaller
from socket import AF_INET, AF_INET6, inet_ntoa, inet_ntop, inet_pton
from typing import Any, Final, NamedTuple
from uuid import UUID, SafeUUID

from envelope_fields.crypto import context

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
_OF_IPV4, _OF_IPV6 = 4, 16  # bytes
_SMALL: Final = bytes(10)  # what mapped addresses begin with, which have dots, and `::1`
MAPPED: Final = _SMALL + b"\xff\xff"
# One group of zeros is written out; of several runs, the first of the longest is left out.
_PROBES: Final = ("1:0:2:3:4:5:6:7", "1::2:0:0:3", "1:0:0:2::3", "1::", "0:1:2:3:4:5:6:7", "a::f")
_NULL: Final = b"\x00"
_VALUE: Final = b"\x01"


class CanonicalType(NamedTuple):
    """A type of values."""

    name: str  # as the specification has it
    encode: Callable[[Any], bytes]  # TypeError or ValueError for what is not a value
    decode: Callable[[bytes], Any]  # ValueError for what is not the form of one


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
    return str(value).replace("e", "E").encode()  # as the context of the thread may have it


def _read_decimal(data: bytes) -> Decimal:
    value = Decimal(data.decode("ascii"))
    if _decimal(value) != data:
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
    # By Python's own class: those of packages may divide by numbers alone.
    return _integer(timedelta.__floordiv__(value, _MICROSECOND))


def _read_duration(data: bytes) -> timedelta:
    return _MICROSECOND * _read_integer(data)


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
    if found is not None and len(found) in (_OF_IPV4, _OF_IPV6):
        return found
    address = ip_address(value)
    if getattr(address, "scope_id", None) is not None:
        raise ValueError("an address that is stored has no zone")
    return address.packed


def _binary(value: bytes | bytearray | memoryview) -> bytes:
    if not isinstance(value, bytes | bytearray | memoryview):
        raise TypeError("bytes of a number are as many zeros")
    return bytes(value)


TEXT: Final = _type("text", methodcaller("encode"), bytes.decode)
INTEGER: Final = _type("integer", _integer, _read_integer)
BOOLEAN: Final = _type("boolean", _boolean, _BOOLEANS.__getitem__)
DECIMAL: Final = _type("decimal", _decimal, _read_decimal)
FLOAT: Final = _type("float", _float, _read_float)
DATE: Final = _type("date", _date, _read_date)
DATETIME: Final = _type("datetime", _datetime, _read_datetime)
TIME: Final = _type("time", _time, _read_time)
DURATION: Final = _type("duration", _duration, _read_duration)
UUID_BYTES: Final = _type("uuid", attrgetter("bytes"), _read_uuid)
ADDRESS: Final = _type("ip address", _address, ip_address)
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


# -- Addresses of networks -------------------------------------------------------------------------
#
# As text, and as the bytes that the operating system makes of it. Python's classes, which take ten
# times as long, have what the system does not take, or writes in another way than RFC 5952.


def packed(text: str) -> bytes | None:
    """Return the 4 or 16 bytes of an address, or None where the classes of Python have to say."""
    try:
        return inet_pton(AF_INET6 if ":" in text else AF_INET, text)
    except (OSError, ValueError):  # the one may not be text of the other's
        return None


def text_of(data: bytes) -> str:
    """Return the text of 4 or 16 bytes, as RFC 5952 has it: with dots where IPv4 is mapped.

    Raises:
        ValueError: they are of another length.
    """
    if len(data) == _OF_IPV4:
        return inet_ntoa(data)
    if _is_system_right and not data.startswith(_SMALL):
        return inet_ntop(AF_INET6, data)
    address = ip_address(data)
    mapped: IPv4Address | None = getattr(address, "ipv4_mapped", None)
    return f"::ffff:{mapped}" if mapped else str(address)


def _writes_as_the_standard() -> bool:
    try:
        return all(inet_ntop(AF_INET6, IPv6Address(each).packed) == each for each in _PROBES)
    except OSError:  # it knows no IPv6
        return False


_is_system_right: Final = _writes_as_the_standard()
