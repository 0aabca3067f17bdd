"""The tables, read when the first text comes that is not ASCII."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

VERSION: Final = "15.1.0"
_FILE: Final = Path(__file__).with_name(f"tables-{VERSION}.json")


class Tables(NamedTuple):
    """What Unicode says of characters that are not as most are.

    Attributes:
        classes: canonical combining classes, where they are not 0.
        compositions: what two characters are composed to.
        decompositions: compatibility decompositions, taken apart to the end; without Hangul.
        foldings: full case foldings.
        digits: the ASCII digits of decimal digits, by code points.
    """

    classes: Mapping[str, int]
    compositions: Mapping[str, str]
    decompositions: Mapping[str, str]
    foldings: Mapping[int, str]
    digits: Mapping[int, str]


@cache
def tables() -> Tables:
    """Return the tables."""
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
