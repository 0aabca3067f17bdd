"""Make unicode-15.1.0.json, the tables by which text is folded for blind indexes.

    python3.13 -m tests.vectors.make_unicode_tables

It takes them from the `unicodedata` of a Python that has this version of Unicode. They never
change: what was folded by them is stored. Keys are code points in hexadecimal.
"""

import json
import sys
import unicodedata
from pathlib import Path

VERSION = "15.1.0"
FILE = (
    Path(__file__).parents[2] / "envelope_fields" / "crypto" / "unicode" / f"tables-{VERSION}.json"
)
HANGUL = range(0xAC00, 0xD7A4)  # is composed and taken apart by arithmetic
LETTERS = [chr(each) for each in range(sys.maxunicode + 1) if not 0xD800 <= each < 0xE000]


def code(letter):
    return f"{ord(letter):x}"


def decompositions():
    """Return the compatibility decompositions, taken apart to the end."""
    return {
        code(letter): apart
        for letter in LETTERS
        if ord(letter) not in HANGUL and (apart := unicodedata.normalize("NFKD", letter)) != letter
    }


def classes():
    """Return the canonical combining classes other than 0."""
    return {code(letter): value for letter in LETTERS if (value := unicodedata.combining(letter))}


def compositions():
    """Return what two characters are composed to."""
    found = {}
    for letter in LETTERS:
        apart = unicodedata.decomposition(letter).split()
        if ord(letter) in HANGUL or len(apart) != 2 or apart[0].startswith("<"):
            continue
        pair = "".join(chr(int(each, 16)) for each in apart)
        if unicodedata.normalize("NFC", pair) == letter:
            found[pair] = letter
    return found


def foldings():
    """Return the full case foldings (C and F of CaseFolding.txt)."""
    return {code(letter): folded for letter in LETTERS if (folded := letter.casefold()) != letter}


def digits():
    """Return the code points of the zeros, which nine other digits follow."""
    zeros = [letter for letter in LETTERS if unicodedata.decimal(letter, None) == 0]
    for zero in zeros:
        assert [unicodedata.decimal(chr(ord(zero) + each)) for each in range(10)] == [*range(10)]
    assert len(zeros) * 10 == sum(unicodedata.decimal(each, None) is not None for each in LETTERS)
    return list(map(code, zeros))


def text():
    tables = {
        "version": VERSION,
        "classes": classes(),
        "compositions": compositions(),
        "decompositions": decompositions(),
        "digits": digits(),
        "foldings": foldings(),
    }
    lines = (f"{json.dumps(name)}:{_compact(table)}" for name, table in tables.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _compact(table):
    return json.dumps(table, ensure_ascii=True, separators=(",", ":"))


if __name__ == "__main__":
    if unicodedata.unidata_version != VERSION:
        raise SystemExit(f"This Python has Unicode {unicodedata.unidata_version}, not {VERSION}.")
    FILE.write_text(text(), encoding="ascii")
