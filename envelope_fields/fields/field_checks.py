"""The rules that one encrypted field can break by its own declaration."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage


def check(field: Any) -> list[CheckMessage]:
    return []
