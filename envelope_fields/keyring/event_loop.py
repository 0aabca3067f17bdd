"""The event loop that may be running in this thread: nothing is asked while it waits."""

from __future__ import annotations

import os
from asyncio import get_running_loop

from asgiref.sync import SyncToAsync

from envelope_fields.exceptions import OpeningNeedsThread


def refuse() -> None:
    """Return if a database or a root key may be asked in this thread.

    Raises:
        OpeningNeedsThread: an event loop is running. As in Django, `DJANGO_ALLOW_ASYNC_UNSAFE`
            allows it all the same.
    """
    try:
        get_running_loop()
    except RuntimeError:
        return
    if not os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE"):
        raise OpeningNeedsThread(
            "its key has to be asked for, which cannot be done while an event loop is running."
        )


def waits() -> bool:
    """Whether an event loop waits for this thread: what is loaded here is looked at there."""
    return getattr(SyncToAsync.threadlocal, "main_event_loop_pid", None) == os.getpid()
