"""Where messages send their readers: the documentation's pages are not in the wheel."""

from __future__ import annotations

URL = "https://django-envelope-fields.readthedocs.io/en/stable/"


def page(name: str) -> str:
    """Return the address of a page of `docs/`, which is named without its suffix."""
    return f"{URL}{name}.html"
