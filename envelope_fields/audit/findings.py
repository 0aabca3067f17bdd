"""What a verification finds."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from envelope_fields.audit.trail import EMPTY, Head


class Cause(StrEnum):
    """What is wrong with events."""

    CHANGED = "changed"
    MISSING = "missing"
    FORGED = "forged"
    UNPROVEN = "unproven"
    CUT = "cut"
    EMPTIED = "emptied"
    REPLACED = "replaced"
    HEAD = "head"


MEANINGS = {
    Cause.CHANGED: "its MAC is not that of its columns and of the event before it: it was changed, "
    "moved to another number, or made without the key",
    Cause.MISSING: "there is no such event, and there are later ones: it was removed",
    Cause.FORGED: "its MAC is under a key that is not the trail's: it was made elsewhere",
    Cause.UNPROVEN: "its MAC cannot be checked, because the event before it is missing",
    Cause.CUT: "there is no such event, and the known head is of this number or a later one: the "
    "tail was cut off",
    Cause.EMPTIED: "there is no event, and there is what only an act that leaves one makes: "
    "the trail was emptied",
    Cause.REPLACED: "it is not the event that the known head is of: the trail was replaced",
    Cause.HEAD: "the head row does not name it as the last event, or not its MAC",
}


@dataclass(slots=True)
class Problem:
    """Events that follow each other and have the same wrong with them.

    Attributes:
        first: the number of the first.
        last: the number of the last.
        cause: what is wrong.
    """

    first: int
    last: int
    cause: Cause

    def __str__(self) -> str:
        if self.first == self.last:
            return f"event {self.first}: {MEANINGS[self.cause]}"
        return f"events {self.first} to {self.last}, each: {MEANINGS[self.cause]}"


@dataclass(slots=True)
class Verification:
    """What a verification found.

    Attributes:
        events: how many there are.
        head: the last one, as it is stored: keep it elsewhere for the next time.
        problems: what is wrong, by number; empty if nothing is.
    """

    events: int = 0
    head: Head = EMPTY
    problems: list[Problem] = field(default_factory=list)

    @property
    def intact(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def add(self, first: int, last: int, cause: Cause) -> None:
        """Add what is wrong; neighbours become one, so that the list stays short."""
        before = self.problems[-1] if self.problems else None
        if before is not None and before.cause == cause and before.last == first - 1:
            before.last = last
        else:
            self.problems.append(Problem(first, last, cause))
