"""Placeholder until the migration guard is in."""

from __future__ import annotations

from typing import Any


def connect(app: Any) -> None:
    pass
