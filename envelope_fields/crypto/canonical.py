"""Values of every type as canonical bytes: what is encrypted, and what a value is bound to.

Each value has one form, each form is read as one value, and what is written never changes
(`docs/spec/canonical-values-v1.md`). Reading is strict: bytes of another form are an error, which
does not show them.
"""

import re
import struct
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Final, NamedTuple
from uuid import UUID

from envelope_fields.crypto import context

# Whether bytes have the form that is written can be told by these, where they match.
_INTEGER: Final = re.compile(rb"0|-?[1-9][0-9]*").fullmatch
_DECIMAL: Final = re.compile(rb"-?(0|[1-9][0-9]*)(\.[0-9]{1,6})?").fullmatch
_DATE: Final = re.compile(rb"[0-9]{4}-[0-9]{2}-[0-9]{2}").fullmatch
_CLOCK: Final = rb"([01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}\.[0-9]{6}"
_TIME: Final = re.compile(_CLOCK).fullmatch
_DATETIME: Final = re.compile(rb"[0-9]{4}-[0-9]{2}-[0-9]{2}T" + _CLOCK + b"Z?").fullmatch
_MICROSECOND: Final = timedelta(microseconds=1)
_NAN: Final = bytes.fromhex("000000000000f87f")
_BOOLEANS: Final = {b"false": False, b"true": True}
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


def _strict(
    name: str,
    encode: Callable[[Any], bytes],
    read: Callable[[bytes], Any],
    has_form: Callable[[bytes], Any] | None = None,
) -> CanonicalType:
    """Return a type whose reader accepts what its writer makes and nothing else.

    Where `has_form` finds that what could be read has the form, the value is not written again.
    """

    def decode(data: bytes) -> Any:
        try:
            value = read(data)
            if (has_form is not None and has_form(data)) or encode(value) == data:
                return value
        except (ValueError, ArithmeticError, LookupError, struct.error):
            pass
        # Raised from here, since the other errors show what they could not read.
        raise ValueError(f"not the canonical bytes of a value of the type {name}")

    return CanonicalType(name, encode, decode)


def _text(value: str) -> bytes:
    return value.encode()


def _integer(value: int) -> bytes:
    return b"%d" % value


def _boolean(value: bool) -> bytes:
    if value is not True and value is not False:
        raise TypeError("neither true nor false")
    return b"true" if value else b"false"


def _read_boolean(data: bytes) -> bool:
    return _BOOLEANS[data]


def _decimal(value: Decimal) -> bytes:
    return str(value).encode()


def _read_decimal(data: bytes) -> Decimal:
    return Decimal(data.decode("ascii"))


def _float(value: float) -> bytes:
    return _NAN if value != value else struct.pack("<d", value)


def _read_float(data: bytes) -> float:
    return float(struct.unpack("<d", data)[0])


def _date(value: date) -> bytes:
    return value.isoformat().encode()


def _read_date(data: bytes) -> date:
    return date.fromisoformat(data.decode("ascii"))


def _datetime(value: datetime) -> bytes:
    if value.tzinfo is None:
        return value.isoformat("T", "microseconds").encode()
    utc = (value if value.tzinfo is UTC else value.astimezone(UTC)).replace(tzinfo=None)
    return utc.isoformat("T", "microseconds").encode() + b"Z"


def _read_datetime(data: bytes) -> datetime:
    return datetime.fromisoformat(data.decode("ascii"))


def _time(value: time) -> bytes:
    if value.tzinfo is not None:
        raise ValueError("a time of day has no time zone")
    return value.isoformat("microseconds").encode()


def _read_time(data: bytes) -> time:
    return time.fromisoformat(data.decode("ascii"))


def _duration(value: timedelta) -> bytes:
    return _integer(value // _MICROSECOND)


def _read_duration(data: bytes) -> timedelta:
    return timedelta(microseconds=int(data))


def _uuid(value: UUID) -> bytes:
    return value.bytes


def _read_uuid(data: bytes) -> UUID:
    return UUID(bytes=data)


def _address(value: str | IPv4Address | IPv6Address) -> bytes:
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


TEXT: Final = _strict("text", _text, bytes.decode)
INTEGER: Final = _strict("integer", _integer, int, _INTEGER)
BOOLEAN: Final = _strict("boolean", _boolean, _read_boolean, _BOOLEANS.__contains__)
DECIMAL: Final = _strict("decimal", _decimal, _read_decimal, _DECIMAL)
FLOAT: Final = _strict("float", _float, _read_float)
DATE: Final = _strict("date", _date, _read_date, _DATE)
DATETIME: Final = _strict("datetime", _datetime, _read_datetime, _DATETIME)
TIME: Final = _strict("time", _time, _read_time, _TIME)
DURATION: Final = _strict("duration", _duration, _read_duration, _INTEGER)
UUID_BYTES: Final = _strict("uuid", _uuid, _read_uuid)
ADDRESS: Final = _strict("ip address", _address, _read_address)
BINARY: Final = _strict("binary", _binary, bytes)


def array(of: CanonicalType) -> CanonicalType:
    """Return the type of lists of values of a type, or of None."""

    def encode(values: list[Any]) -> bytes:
        return context.encode(nullable(value, of) for value in values)

    def read(data: bytes) -> list[Any]:
        return [None if part == _NULL else _of_part(part) for part in context.decode(data)]

    def _of_part(part: bytes) -> Any:
        if not part.startswith(_VALUE):
            raise ValueError
        return of.decode(part[len(_VALUE) :])

    return _strict(f"array of {of.name}", encode, read)


def nullable(value: Any, of: CanonicalType) -> bytes:
    """Return a value, or None, as one of several parts: of an array, or of a context."""
    return _NULL if value is None else _VALUE + of.encode(value)
