"""Every type of encrypted fields but those of text areas and JSON, with values of each."""

import math
import struct
import uuid
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

from django.db import models

from envelope_fields import fields

FAMILY = {
    "Char": ({"max_length": 9}, ["", "Zoë", "0"]),
    "Email": ({}, ["", "ann@clinic.example"]),
    "URL": ({}, ["", "https://clinic.example/a?b=c"]),
    "Slug": ({}, ["", "blood-group"]),
    "FilePath": ({"path": "/"}, ["", "/etc/hosts"]),
    "Integer": ({}, [0, -1, 2**31 - 1, -(2**31)]),
    "SmallInteger": ({}, [0, 2**15 - 1, -(2**15)]),
    "BigInteger": ({}, [0, 2**63 - 1, -(2**63)]),
    "PositiveInteger": ({}, [0, 2**31 - 1]),
    "PositiveSmallInteger": ({}, [0, 2**15 - 1]),
    "PositiveBigInteger": ({}, [0, 2**63 - 1]),
    "Decimal": (
        {"max_digits": 12, "decimal_places": 2},
        [Decimal("0.00"), Decimal("12.30"), Decimal("-9999999999.99")],
    ),
    "Float": ({}, [0.0, 0.1, -1e300, 5e-324]),
    "Boolean": ({}, [False, True]),
    "Date": ({}, [date(1, 1, 1), date(2024, 2, 29), date(9999, 12, 31)]),
    "DateTime": ({}, [datetime(2026, 11, 28, 12, 0, 0, 1, tzinfo=UTC)]),
    "Time": ({}, [time(), time(23, 59, 59, 999999)]),
    "Duration": ({}, [timedelta(), timedelta(microseconds=-1), timedelta(days=99, microseconds=1)]),
    "UUID": ({}, [uuid.UUID(int=0), uuid.UUID("6f2f1c9a-3d0b-4e55-9a64-0e8c7d1f2b3a")]),
    "GenericIPAddress": ({}, ["127.0.0.1", "2001:db8::8:800:200c:417a", "::ffff:192.0.2.1"]),
    "Binary": ({}, [b"", b"\x00\xff", b"\x01" + bytes(120)]),
}
VALUES = [(name, value) for name, (_, values) in FAMILY.items() for value in values]


def encrypted(name, **options):
    return getattr(fields, f"Encrypted{name}Field")(**FAMILY[name][0], **options)


def plain(name, **options):
    return getattr(models, f"{name}Field")(**FAMILY[name][0], **options)


def exactly(one, other):
    """Whether two values are the same, to the type, the digits and the last bit."""
    if isinstance(one, float) and isinstance(other, float):
        return (math.isnan(one) and math.isnan(other)) or struct.pack("d", one) == struct.pack(
            "d", other
        )
    return type(one) is type(other) and one == other and str(one) == str(other)
