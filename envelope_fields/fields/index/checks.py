"""The rules that a blind index can break by its own declaration."""

from collections.abc import Iterator
from typing import Any

from django.core.checks import CheckMessage, Error


def check(index: Any) -> list[CheckMessage]:
    """Return what is wrong with the declaration of an index."""
    return []
