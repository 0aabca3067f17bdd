"""Make canonical-values-v1.json, the test vectors of docs/spec/canonical-values-v1.md.

    python -m tests.vectors.make_canonical_vectors

Every form is written here by hand, from the text of the specification, and not by the package,
which is tested against them.
"""

import json
import struct
from pathlib import Path

from tests.vectors.make_envelope_vectors import integer, pae

FILE = Path(__file__).with_name("canonical-values-v1.json")
NOTES = [
    "`bytes` are hexadecimal. The spec is docs/spec/canonical-values-v1.md.",
    "`valid`: `value` is what is written, `read` what comes back where that is something else."
    " Integers and durations (microseconds) are text; a decimal is its sign (0 or 1), the digits of"
    " its coefficient and its exponent, or the name of a special value; a float is a number or the"
    " name of one; binary values are hexadecimal.",
    "`invalid`: bytes that a reader refuses.",
]


def ascii_of(text):
    return text.encode("ascii").hex()


VALID = {
    "text": [("", ""), ("Zoë", "5a6fc3ab"), ("0", "30"), ("\x00", "00"), ("🩺", "f09fa9ba")],
    "integer": [
        (text, ascii_of(text))
        for text in ("0", "1", "-1", "-42", "9223372036854775807", "-9223372036854775808")
    ],
    "boolean": [(False, ascii_of("false")), (True, ascii_of("true"))],
    "decimal": [
        ([0, "1230", -2], ascii_of("12.30")),
        ([0, "123", -1], ascii_of("12.3")),
        ([0, "0", 0], ascii_of("0")),
        ([1, "0", 0], ascii_of("-0")),
        ([0, "0", -2], ascii_of("0.00")),
        ([1, "5", -1], ascii_of("-0.5")),
        ([0, "1", 3], ascii_of("1E+3")),
        ([0, "123", 3], ascii_of("1.23E+5")),
        ([0, "5", -7], ascii_of("5E-7")),
        ([0, "50", -7], ascii_of("0.0000050")),
        ([0, "0", -8], ascii_of("0E-8")),
        ([0, "12345678901234567890123456789012345678901", -10],
         ascii_of("1234567890123456789012345678901.2345678901")),
        ("NaN", ascii_of("NaN")),
        ("Infinity", ascii_of("Infinity")),
        ("-Infinity", ascii_of("-Infinity")),
    ],
    "float": [
        *((value, struct.pack("<d", value).hex()) for value in (0.0, 1.5, 0.1, -1e300, 5e-324)),
        ("-0", struct.pack("<d", -0.0).hex()),
        ("Infinity", "000000000000f07f"),
        ("-Infinity", "000000000000f0ff"),
        ("NaN", "000000000000f87f"),
    ],
    "date": [(text, ascii_of(text)) for text in ("0001-01-01", "2024-02-29", "9999-12-31")],
    "time": [
        (text, ascii_of(text))
        for text in ("00:00:00.000000", "12:30:00.000001", "23:59:59.999999")
    ],
    "datetime": [
        ("2026-11-28T12:00:00.000000+01:00", ascii_of("2026-11-28T11:00:00.000000Z"),
         "2026-11-28T11:00:00.000000Z"),
        ("2026-11-28T12:00:00.000001Z", ascii_of("2026-11-28T12:00:00.000001Z")),
        ("2026-11-28T12:00:00.000000", ascii_of("2026-11-28T12:00:00.000000")),
        ("0001-01-01T00:00:00.000000Z", ascii_of("0001-01-01T00:00:00.000000Z")),
        ("9999-12-31T23:59:59.999999", ascii_of("9999-12-31T23:59:59.999999")),
    ],
    "duration": [
        (text, ascii_of(text))
        for text in ("0", "1500000", "-1", "-86400000000", "86399999999999999999")
    ],
    "uuid": [
        ("00000000-0000-0000-0000-000000000000", "00" * 16),
        ("6f2f1c9a-3d0b-4e55-9a64-0e8c7d1f2b3a", "6f2f1c9a3d0b4e559a640e8c7d1f2b3a"),
    ],
    "ip address": [
        ("127.0.0.1", "7f000001"),
        ("::1", "00" * 15 + "01"),
        ("::ffff:192.0.2.1", "00" * 10 + "ffffc0000201"),
        ("2001:db8::8:800:200c:417a", "20010db80000000000080800200c417a"),
    ],
    "binary": [("", ""), ("00ff", "00ff")],
    "array of integer": [
        ([], pae(*[]).hex()),
        (["1", None, "-1"], pae(*[b"\x011", b"\x00", b"\x01-1"]).hex()),
    ],
    "array of text": [(["", None], pae(*[b"\x01", b"\x00"]).hex())],
    "array of array of date": [
        ([["2024-02-29"], [], None],
         pae(*[b"\x01" + pae(*[b"\x012024-02-29"]), b"\x01" + pae(*[]), b"\x00"]).hex()),
    ],
}  # fmt: skip

INVALID = {
    "text": ["ff", "eda080"],
    "integer": [ascii_of(each) for each in ("", "-0", "+1", "01", "1 ", "1_0", "1.0", "0x1", "-")]
    + ["d9a1"],
    "boolean": [ascii_of(each) for each in ("", "True", "1", "0", "false ")],
    "decimal": [
        ascii_of(each)
        for each in ("", "1e3", "1E3", "01.2", "+1", ".5", "5.", "0.00000050E0", "nan", "1_0",
                     "inf")
    ],
    "float": ["", "000000000000f8ff", "010000000000f87f", "0000c03f", "00" * 9],
    "date": [
        ascii_of(each)
        for each in ("", "2023-02-29", "20240229", "2024-2-29", "0000-01-01", "2024-W09-4",
                     "2024-02-29T00:00:00.000000", "10000-01-01")
    ],
    "time": [
        ascii_of(each)
        for each in ("", "24:00:00.000000", "12:30", "12:30:00", "12:30:00.000", "12:30:60.000000",
                     "12:30:00.000000Z", "123000.000000")
    ],
    "datetime": [
        ascii_of(each)
        for each in ("", "2026-11-28", "2026-11-28 12:00:00.000000", "2026-11-28T12:00:00Z",
                     "2026-11-28T12:00:00.000000+00:00", "2026-11-28T12:00:00.000000z",
                     "2023-02-29T12:00:00.000000Z")
    ],
    "duration": [ascii_of(each) for each in ("", "1.5", "-0", "00")],
    "uuid": ["", "00" * 15, "00" * 17, ascii_of("6f2f1c9a3d0b4e559a640e8c7d1f2b3a")],
    "ip address": ["", "7f0000", ascii_of("127.0.0.1"), "00" * 15],
    "array of integer": [
        "",
        pae(*[b"1"]).hex(),
        pae(*[b"\x01"]).hex(),
        pae(*[b"\x00\x00"]).hex(),
        pae(*[b"\x021"]).hex(),
        (integer(2) + pae(*[b"\x011"])[8:]).hex(),
        (pae(*[b"\x011"]) + b"\x00").hex(),
        pae(*[b"\x011"])[:-1].hex(),
    ],
}  # fmt: skip


def vectors():
    """Return what the file holds."""
    valid = []
    for name, listed in VALID.items():
        for value, encoded, *read in listed:
            entry = {"type": name, "value": value, "bytes": encoded}
            valid.append({**entry, "read": read[0]} if read else entry)
    invalid = [
        {"type": name, "bytes": encoded} for name, listed in INVALID.items() for encoded in listed
    ]
    return {"notes": NOTES, "valid": valid, "invalid": invalid}


def text():
    return json.dumps(vectors(), indent=1, ensure_ascii=True) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="ascii")
