"""Where the admin's other pages are: on the site of the page that links to them."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse


def address(request: HttpRequest, page: str, *args: Any) -> str:
    """Return the address of a page of this app on the site of a request.

    Args:
        request: its `current_app` is the name of the site.
        page: model and page, such as `rotationrun_change`.
        *args: what the address is made with.

    Returns:
        The address; empty where the site does not have the model.
    """
    site: Any = getattr(request, "current_app", None)
    try:
        return reverse(f"admin:envelope_fields_{page}", args=args, current_app=site)
    except NoReverseMatch:
        return ""
