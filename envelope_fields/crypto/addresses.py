"""Addresses of networks: as text, and as the bytes that the operating system makes of it.

Python has classes for them, which take ten times as long. What the system does not take, or writes
in another way than RFC 5952, is left to these.
"""

from ipaddress import IPv4Address, IPv6Address, ip_address
from socket import AF_INET, AF_INET6, inet_ntoa, inet_ntop, inet_pton
from typing import Final

_OF_IPV4: Final = 4  # bytes
_SMALL: Final = bytes(10)  # what mapped addresses begin with, which have dots, and `::1`
MAPPED: Final = _SMALL + b"\xff\xff"

# One group of zeros is written out; of several runs, the first of the longest is left out.
_PROBES: Final = ("1:0:2:3:4:5:6:7", "1::2:0:0:3", "1:0:0:2::3", "1::", "0:1:2:3:4:5:6:7", "a::f")


def packed(text: str) -> bytes | None:
    """Return the 4 or 16 bytes of an address, or None where the classes of Python have to say."""
    try:
        return inet_pton(AF_INET6 if ":" in text else AF_INET, text)
    except (OSError, ValueError):  # the one may be no text of the other's
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
