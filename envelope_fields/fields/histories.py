"""Tables of histories and events, which packages fill with copies of rows."""

from __future__ import annotations

from typing import Any

# What the models have that django-simple-history and django-pghistory make.
_MARKS = ("history_type", "pgh_label")


def is_history(model: Any) -> bool:
    """Whether a model keeps what the rows of another were."""
    return any(hasattr(model, mark) for mark in _MARKS)
