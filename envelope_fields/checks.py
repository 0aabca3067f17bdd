"""System checks across models, settings and databases."""

from __future__ import annotations


def register() -> None:
    pass
