"""What root keys are being asked: one question for each version of a key, whoever needs it.

Threads that need what one of them asks for wait for its answer, for a time, and no other thread
does. What was not answered is not asked again before a pause has passed.
"""

from __future__ import annotations

import os
from asyncio import get_running_loop
from copy import copy
from threading import Event, get_ident

from envelope_fields.crypto.context import KeyVersionContext
from envelope_fields.exceptions import OpeningNeedsThread, RootKeyUnavailable
from envelope_fields.keyring.age import Pause

# Longer than a client library takes for all its attempts.
WAIT_SECONDS = 30


class Question:
    """What one thread asks a root key, and others wait for.

    Attributes:
        asked_by: the thread.
        since: which eviction was the last before it.
    """

    __slots__ = ("_answered", "_error", "asked_by", "since")

    def __init__(self, since: int) -> None:
        self.asked_by = get_ident()
        self.since = since
        self._answered = Event()
        self._error: Exception | None = None

    def wait(self) -> None:
        """Wait for the answer, and raise the error if it is one.

        Raises:
            RootKeyUnavailable: there is none in time.
        """
        if not self._answered.wait(WAIT_SECONDS):
            raise RootKeyUnavailable(
                f"Another thread has been asking the root key for {WAIT_SECONDS} seconds, without "
                "an answer. Try again."
            )
        if self._error is not None:
            raise copied(self._error)

    def answer(self, error: BaseException | None) -> None:
        """Let those who wait go on, with an error where there is one."""
        self._error = error if isinstance(error, Exception) else None
        self._answered.set()


def copied(error: Exception) -> Exception:
    """Return an error for another thread, which adds frames of its own to it, if possible."""
    try:
        return copy(error).with_traceback(None)
    except Exception:  # that of a client library, which is made of more than its message
        return error


class Unanswered:
    """The versions for which a root key did not answer, and when it is asked again."""

    _MOST = 4096

    def __init__(self) -> None:
        self._failures: dict[KeyVersionContext, tuple[Pause, Exception]] = {}

    def check(self, context: KeyVersionContext) -> None:
        """Return if a root key may be asked for a version.

        Raises:
            RootKeyUnavailable: as it was raised last, and its pause is not over.
        """
        failed = self._failures.get(context)
        if failed is not None and not failed[0].is_over():
            raise copied(failed[1])

    def note(self, context: KeyVersionContext, error: BaseException | None) -> None:
        """Begin a pause, or end them, by what came of asking."""
        if not isinstance(error, RootKeyUnavailable):
            self._failures.pop(context, None)
            return
        if len(self._failures) >= self._MOST:
            self._failures.pop(next(iter(self._failures)), None)
        pause, _ = self._failures.get(context, (Pause(), None))
        pause.begin()
        # Without its frames, which would keep alive what they refer to.
        self._failures[context] = pause, copied(error)

    def clear(self) -> None:
        """Let every root key be asked at once."""
        self._failures.clear()


def event_loop_is_running() -> bool:
    """Whether this thread runs an event loop, which nobody may let wait."""
    try:
        get_running_loop()
    except RuntimeError:
        return False
    return True


def refuse_in_event_loop() -> None:
    """Return if a database or a root key may be asked in this thread.

    Raises:
        OpeningNeedsThread: an event loop is running. As in Django, `DJANGO_ALLOW_ASYNC_UNSAFE`
            allows it all the same.
    """
    if event_loop_is_running() and not os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE"):
        raise OpeningNeedsThread(
            "its key has to be asked for, which cannot be done while an event loop is running: "
            "do it in a thread."
        )
