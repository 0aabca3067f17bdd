"""Make blind-index-v1.json, the test vectors of docs/spec/blind-index-v1.md.

    python -m tests.vectors.make_index_vectors

Normal forms and messages are written here by hand, from the text of the specification, and not by
the package, which is tested against them.
"""

import hashlib
import hmac
import json
from pathlib import Path

from tests.vectors.make_envelope_vectors import integer, pae

FILE = Path(__file__).with_name("blind-index-v1.json")
NOTES = [
    "Keys, ids, messages and values of an index are hexadecimal."
    " The spec is docs/spec/blind-index-v1.md.",
    "`normal_forms`: what each normaliser makes of a text, or of a date. `no_normal_form`: values"
    " for which NULL is stored.",
    "`reduced`: what `exact` makes of numbers, and of scalars in JSON: of a decimal and of JSON the"
    " text, of a float its canonical bytes, hexadecimal. `form` is in the same way.",
    "`values`: `forms` are canonical normal forms, hexadecimal; `scope` has pairs of a name and a"
    " nullable canonical value.",
    "`different`: values of an index that differ, although a wrong encoding would make them equal.",
]
KEY = bytes(range(32))
VERSION_ID = bytes.fromhex("a1b2c3d4e5f60718")

NORMAL_FORMS = {
    "exact": [("Straße", "Straße"), (" a ", " a "), ("e\u0301", "e\u0301")],
    "casefold": [
        ("Ada", "ada"),
        ("ADA LOVELACE", "ada lovelace"),
        ("Straße", "strasse"),
        ("STRASSE", "strasse"),
        ("ẞ", "ss"),
        ("İstanbul", "i\u0307stanbul"),
        ("ISTANBUL", "istanbul"),
        ("ıstanbul", "ıstanbul"),
        ("ΟΔΥΣΣΕΥΣ", "οδυσσευσ"),
        ("Οδυσσευς", "οδυσσευσ"),
        ("ﬁn", "fin"),
        ("①²", "12"),
        ("Ａｄａ", "ada"),
        ("Å", "å"),
        ("A\u030a", "å"),
        ("\u212b", "å"),
        ("\u1100\u1161\u11a8", "각"),
        ("가\u11a8", "각"),
        ("각", "각"),
        ("q\u0307\u0323", "q\u0323\u0307"),
        ("\u1e9b\u0323", "ṩ"),
        ("\u03d3", "ύ"),
        ("\u0345", "ι"),
        ("Ꭰꭰ", "ᎠᎠ"),
        ("A\u00adB", "a\u00adb"),  # a soft hyphen is ignorable, and stays
        ("A\u0378", "a\u0378"),  # not assigned
        ("\U000323b0A", "\U000323b0a"),  # not assigned in 15.1
        ("\u0e33", "\u0e4d\u0e32"),
        ("\U0001f9d1", "\U0001f9d1"),
        (" a ", " a "),
    ],
    "email": [
        ("Ada.Lovelace+Notes@Example.ORG", "ada.lovelace+notes@example.org"),
        ("\t ada@example.org\u00a0\u3000\n", "ada@example.org"),
        ("\u200bada@example.org", "\u200bada@example.org"),  # not white space
        ("\x1fada@example.org", "\x1fada@example.org"),  # nor is this
        ("ZOE\u0308@EXÄMPLE.org", "zoë@exämple.org"),
    ],
    "digits": [
        ("+49 (0)30 1234-567", "490301234567"),
        ("٠١٢٣", "0123"),
        ("१२", "12"),
        ("𝟘９", "09"),
        ("²①Ⅳ7", "7"),
    ],
    "last_four": [("078-05-1120", "1120"), ("1234", "1234"), ("۱۲۳۴۵", "2345")],
    "domain": [
        ("Ada@Example.ORG", "example.org"),
        ('"a@b"@example.org', "example.org"),
        (" example.org", "example.org"),
    ],
    "year": [("1815-12-10", "1815"), ("0099-01-01", "99"),
             ("2026-01-01T00:30:00+01:00", "2025"), ("2026-01-01T00:30:00", "2026")],
    "month": [("1815-12-10", "12"), ("1815-07-01", "7"), ("2026-01-01T00:30:00+01:00", "12")],
}  # fmt: skip
NO_NORMAL_FORM = {
    "exact": [""],
    "casefold": [""],
    "email": ["", " \t\u2003"],
    "digits": ["", "none", "²①"],
    "last_four": ["", "123", "x"],
    "domain": ["", "ada@", "ada@ "],
}
REDUCED = {
    "decimal": [
        ("12.30", "12.3"), ("12.3", "12.3"), ("100", "1E+2"), ("1E+2", "1E+2"), ("10.0", "1E+1"),
        ("0", "0"), ("0.00", "0"), ("-0", "0"), ("0E+5", "0"), ("-1.500", "-1.5"),
        ("1.0000000", "1"), ("1E-7", "1E-7"), ("0.0000010", "0.000001"), ("-1.20E+5", "-1.2E+5"),
        ("1002.00300", "1002.003"), ("NaN", "NaN"), ("-Infinity", "-Infinity"),
        ("1" * 40 + ".0", "1" * 40), ("1" * 40 + "0.0", "1." + "1" * 39 + "E+40"),
    ],
    "float": [
        ("0000000000000000", "0000000000000000"),
        ("0000000000000080", "0000000000000000"),  # minus zero
        ("000000000000f83f", "000000000000f83f"),
        ("0100000000000080", "0100000000000080"),  # the one next to it
        ("000000000000f87f", "000000000000f87f"),  # not a number
    ],
    "json": [
        ("1", "1"), ("1.0", "1"), ("1e0", "1"), ("1e2", "100"), ("-0", "0"), ("-0.0", "0"),
        ("0.1", "0.1"), ("0.10", "0.1"), ("2.5e-3", "0.0025"), ("0.0001", "0.0001"),
        ("0.00001", "1e-05"), ("1.25e-7", "1.25e-07"), ("5e-324", "5e-324"), ("-12.75", "-12.75"),
        ("0.30000000000000004", "0.30000000000000004"), ("1e22", "10000000000000000000000"),
        ("9007199254740993", "9007199254740993"), ("9007199254740993.0", "9007199254740992"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ("true", "true"), ("false", "false"), ('"1"', '"1"'), ('"true"', '"true"'),
        (r'"\u0041\/\u00e9"', '"A/é"'), (r'"\u0008\u000a\u001F\""', r'"\b\n\u001f\""'),
    ],
}  # fmt: skip

LABEL = "clinic.patient.email_index"


def value(
    *forms,
    kind="field",
    name=LABEL,
    normalizer="email",
    version=1,
    part="",
    scope=(),
    spread=0,
):
    """Return a value of an index, by the text of the specification."""
    bound = [each for pair in scope for each in (pair[0].encode(), bytes.fromhex(pair[1]))]
    message = pae(
        b"index-v1",
        kind.encode(),
        name.encode(),
        pae(normalizer.encode(), integer(version), part.encode()),
        pae(*bound),
        integer(spread),
        pae(*forms),
    )
    digest = hmac.new(KEY, message, hashlib.sha256).digest()
    return {
        "kind": kind,
        "name": name,
        "normalizer": normalizer,
        "normalizer_version": version,
        "part": part,
        "scope": [list(pair) for pair in scope],
        "spread": spread,
        "forms": [form.hex() for form in forms],
        "message": message.hex(),
        "value": (digest[:16] + VERSION_ID).hex(),
    }


ADA = b"ada@example.org"
TENANT = ("tenant_id", "0137")
VALUES = [
    value(ADA),
    value(b"ada", normalizer="casefold"),
    value(ADA, version=2),
    value(ADA, kind="shared", name=LABEL),
    value(ADA, kind="shared", name="addresses"),
    value(ADA, scope=[TENANT]),
    value(ADA, scope=[("tenant_id", "00")]),
    value(ADA, scope=[TENANT, ("ward_id", "01")]),
    value(b"lovelace", b"1815-12-10", normalizer="exact", name="clinic.patient.name_index"),
    value(b'"A-17"', normalizer="exact", part="mrn"),
    value(b"17", normalizer="exact", part="mrn"),
    value(b"17", normalizer="exact", part="ids__mrn"),
    value(bytes(1), normalizer="exact"),
    value("zoë".encode(), normalizer="clinic.names", version=3),
    value(b"1120", normalizer="last_four"),
    value(b"example.org", normalizer="domain"),
    value(b"1815", normalizer="year"),
    value(b"12", normalizer="month"),
    value(b"12.3", normalizer="exact"),
    value(b"1E+2", normalizer="exact"),
]
DIFFERENT = [
    [value(b"ab", b"c"), value(b"a", b"bc")],
    [value(b"ab"), value(b"a", b"b")],
    [value(ADA, name="clinic.patient.email_index"), value(ADA, name="clinic.patient.email_indexx")],
    [value(ADA, normalizer="email", part=""), value(ADA, normalizer="ema", part="il")],
    [value(ADA, scope=[("a", "01")]), value(ADA, scope=[("a01", "")])],
    [value(ADA, scope=[TENANT]), value(ADA, scope=[("tenant_id", "37")])],
    [value(ADA), value(ADA, spread=1)],
    [value(ADA), value(ADA, kind="shared")],
    [value(b"1", normalizer="exact", part="mrn"), value(b"true", normalizer="exact", part="mrn")],
    [value(b"1120", normalizer="last_four"), value(b"1120", normalizer="digits")],
    [value(b"12", normalizer="month"), value(b"12", normalizer="year")],
    [value(b"strasse", normalizer="casefold"), value("straße".encode(), normalizer="casefold")],
]


def vectors():
    """Return what the file holds."""
    return {
        "notes": NOTES,
        "key": KEY.hex(),
        "version_id": VERSION_ID.hex(),
        "normal_forms": [
            {"normalizer": name, "value": given, "form": form}
            for name, pairs in NORMAL_FORMS.items()
            for given, form in pairs
        ],
        "no_normal_form": [
            {"normalizer": name, "value": given}
            for name, listed in NO_NORMAL_FORM.items()
            for given in listed
        ],
        "reduced": [
            {"normalizer": "exact", "type": kind, "value": given, "form": form}
            for kind, pairs in REDUCED.items()
            for given, form in pairs
        ],
        "values": VALUES,
        "different": DIFFERENT,
    }


def text():
    return json.dumps(vectors(), indent=1, ensure_ascii=True) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="ascii")
