"""Actions in words. In the trail, the log and grants they are KMS's names, the same everywhere."""

from __future__ import annotations

from collections.abc import Iterable

from envelope_fields.lifecycle import Operation
from envelope_fields.lifecycle.operations import in_words as in_words
from envelope_fields.policy import Action

_WORDS = {str(each): each.label for each in (*Action, *Operation)}


def all_in_words(actions: Iterable[str]) -> str:
    """Return actions as people read them, in a row."""
    return ", ".join(map(in_words, actions))
