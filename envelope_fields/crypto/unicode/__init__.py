"""Text as Unicode 15.1 folds it, whatever version of Unicode this Python has.

What is folded goes into MACs that are stored, so a newer Python must change none: the tables are in
`tables-15.1.0.json`, and code points that they do not know stay as they are. The steps are those of
`docs/spec/blind-index-v1.md`; the algorithms are UAX #15 and section 3.13 of the Unicode Standard.
"""

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

VERSION: Final = "15.1.0"
_FILE: Final = Path(__file__).with_name(f"tables-{VERSION}.json")

# Hangul syllables are composed and taken apart by arithmetic (The Unicode Standard, 3.12).
_SYLLABLES, _LEADS, _VOWELS, _TAILS = 0xAC00, 0x1100, 0x1161, 0x11A7
_LEAD_COUNT, _VOWEL_COUNT, _TAIL_COUNT = 19, 21, 28
_SYLLABLE_COUNT: Final = _LEAD_COUNT * _VOWEL_COUNT * _TAIL_COUNT


def casefold(text: str) -> str:
    """Return text in NFKC, then with full case folding, then in NFKC."""
    if text.isascii():
        return text.lower()
    joining = _joining()
    if joining.isdisjoint(text):
        return text.translate(_folded)
    return "".join(
        _fold(cluster) if len(cluster) > 1 else _folded[ord(cluster)]
        for cluster in _clusters(text, joining)
    )


def nfkc(text: str) -> str:
    """Return text in Normalization Form KC."""
    if text.isascii():
        return text
    return "".join(_composed(_ordered(_apart(text))))


def digits(text: str) -> str:
    """Return the decimal digits in a text, of any script, as ASCII; all else is dropped."""
    if not text.isascii():
        known = tables().digits
        return "".join(known.get(ord(letter), "") for letter in text)
    return text if text.isdigit() else _NO_DIGITS.sub("", text)


_NO_DIGITS: Final = re.compile("[^0-9]+", re.ASCII)


class _Folded(dict[int, str]):
    """What a character is folded to by itself, for `str.translate`."""

    def __missing__(self, code: int) -> str:
        self[code] = folded = _fold(chr(code))
        return folded


_folded: Final = _Folded()


def _fold(text: str) -> str:
    return nfkc(nfkc(text).translate(tables().foldings))


def _clusters(text: str, joining: frozenset[str]) -> Iterator[str]:
    """Split text in front of each character that is folded without a look at the one before."""
    start = 0
    for at, letter in enumerate(text):
        if letter not in joining and start < at:
            yield text[start:at]
            start = at
    yield text[start:]


@cache
def _joining() -> frozenset[str]:
    """Return the characters that may be joined with the one in front, or moved before it.

    Text without them is folded character by character.
    """
    known = tables()
    seconds = {pair[1] for pair in known.compositions}
    joining = {*known.classes, *seconds, *map(chr, range(_VOWELS, _VOWELS + _VOWEL_COUNT))}
    joining |= set(map(chr, range(_TAILS, _TAILS + _TAIL_COUNT)))
    # Taken apart or folded, others begin with one of these.
    joining |= {letter for letter, apart in known.decompositions.items() if apart[0] in joining}
    joining |= {chr(code) for code, folded in known.foldings.items() if folded[0] in joining}
    return frozenset(joining)


def _apart(text: str) -> Iterator[str]:
    decompositions = tables().decompositions
    for letter in text:
        syllable = ord(letter) - _SYLLABLES
        if 0 <= syllable < _SYLLABLE_COUNT:
            lead, rest = divmod(syllable, _VOWEL_COUNT * _TAIL_COUNT)
            vowel, tail = divmod(rest, _TAIL_COUNT)
            yield chr(_LEADS + lead)
            yield chr(_VOWELS + vowel)
            if tail:
                yield chr(_TAILS + tail)
        else:
            yield from decompositions.get(letter, letter)


def _ordered(letters: Iterator[str]) -> list[str]:
    """Put the marks after each starter in the order of their classes, else as they are."""
    classes, found, marks = tables().classes, list[str](), list[str]()
    for letter in letters:
        if letter in classes:
            marks.append(letter)
            continue
        found += sorted(marks, key=classes.__getitem__)
        marks.clear()
        found.append(letter)
    return found + sorted(marks, key=classes.__getitem__)


def _composed(letters: list[str]) -> list[str]:
    classes, found, starter, last = tables().classes, list[str](), -1, 0
    for letter in letters:
        own = classes.get(letter, 0)
        # What stands between a mark and its starter, with the same class or a higher one, blocks.
        is_next = starter == len(found) - 1
        if starter >= 0 and (is_next or last < own):
            joined = _joined(found[starter], letter)
            if joined is not None:
                found[starter] = joined
                continue
        if own == 0:
            starter = len(found)
        last = own
        found.append(letter)
    return found


def _joined(first: str, second: str) -> str | None:
    vowel, syllable = ord(second) - _VOWELS, ord(first) - _SYLLABLES
    lead, tail = ord(first) - _LEADS, ord(second) - _TAILS
    if 0 <= lead < _LEAD_COUNT and 0 <= vowel < _VOWEL_COUNT:
        return chr(_SYLLABLES + (lead * _VOWEL_COUNT + vowel) * _TAIL_COUNT)
    if 0 <= syllable < _SYLLABLE_COUNT and not syllable % _TAIL_COUNT and 0 < tail < _TAIL_COUNT:
        return chr(ord(first) + tail)
    return tables().compositions.get(first + second)


# -- The tables -----------------------------------------------------------------------------------


class Tables(NamedTuple):
    """What Unicode says of characters that are not as most are."""

    classes: Mapping[str, int]  # canonical combining classes, where they are not 0
    compositions: Mapping[str, str]  # of two characters
    decompositions: Mapping[str, str]  # for compatibility, to the end; without Hangul
    foldings: Mapping[int, str]  # full case foldings
    digits: Mapping[int, str]  # the ASCII digits of decimal digits, by code points


@cache
def tables() -> Tables:
    """Return the tables, which are read when the first text comes that is not ASCII."""
    read: dict[str, Any] = json.loads(_FILE.read_text(encoding="ascii"))
    zeros = [int(zero, 16) for zero in read["digits"]]
    return Tables(
        classes={chr(int(code, 16)): value for code, value in read["classes"].items()},
        compositions=read["compositions"],
        decompositions={
            chr(int(code, 16)): apart for code, apart in read["decompositions"].items()
        },
        foldings={int(code, 16): folded for code, folded in read["foldings"].items()},
        digits={zero + digit: str(digit) for zero in zeros for digit in range(10)},
    )
