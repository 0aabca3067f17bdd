"""What root keys are being asked: one question for each version of a key.

Threads that need what one of them asks for wait for its answer, for a time, and no other thread
does. What was not answered is not asked again before a pause has passed.
"""

import os
from asyncio import get_running_loop
from copy import copy
from threading import Event, get_ident

from envelope_fields.crypto.context import KeyVersionContext
from envelope_fields.exceptions import (
    OpeningNeedsThread,
    RootKeyRefused,
    RootKeyUnavailable,
    WrappedKeyAltered,
)
from envelope_fields.keyring.age import LONGEST_PAUSE_SECONDS, WAIT_SECONDS, Moment, Pause, moment


class Question:
    """What one thread asks a root key, and others wait for.

    Attributes:
        asked_by: the thread.
        since: which eviction was the last before it.
    """

    __slots__ = ("_answered", "_began_at", "_error", "asked_by", "since")

    def __init__(self, since: int) -> None:
        self._began_at = moment()
        self.asked_by = get_ident()
        self.since = since
        self._answered = Event()
        self._error: Exception | None = None

    def is_lost(self) -> bool:
        """Whether it was asked so long ago that no answer comes."""
        return self._began_at.age() >= WAIT_SECONDS

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
    """Return an error for another thread, which adds frames of its own to it."""
    try:
        return copy(error)
    except Exception:  # one that is made of more than its message
        classes = (WrappedKeyAltered, RootKeyRefused, RootKeyUnavailable)
        found = (each for each in classes if isinstance(error, each))
        return next(found, RootKeyUnavailable)(str(error))


class Unanswered:
    """The versions that a root key did not open, and when it is asked for them again."""

    _MOST = 4096

    def __init__(self) -> None:
        self._failures: dict[KeyVersionContext, tuple[Pause, Exception]] = {}

    def check(self, context: KeyVersionContext) -> None:
        """Return if a root key may be asked for a version.

        Raises:
            RootKeyRefused, RootKeyUnavailable: as it was raised last, and its pause is not over.
        """
        failed = self._failures.get(context)
        if failed is not None and not failed[0].is_over():
            raise copied(failed[1])

    def note(self, context: KeyVersionContext, error: BaseException | None) -> bool:
        """Begin a pause, or end them, by what came of asking; return whether it is the first."""
        if error is None:
            self._failures.pop(context, None)
        if not isinstance(error, RootKeyRefused | RootKeyUnavailable):
            return False
        if len(self._failures) >= self._MOST:
            self._failures.pop(next(iter(self._failures)), None)
        failed = self._failures.get(context)
        pause = Pause() if failed is None else failed[0]
        pause.begin()
        # Without its frames, which would keep alive what they refer to.
        self._failures[context] = pause, copied(error)
        return failed is None

    def clear(self) -> None:
        """Let every root key be asked at once."""
        self._failures.clear()


class Questions:
    """Those that are being asked, one for each version, and when those before are asked again.

    Attributes:
        asked: the questions that other threads may wait for.
        evictions: how often they were cleared.
    """

    def __init__(self) -> None:
        self.asked: dict[KeyVersionContext, Question] = {}
        self.evictions = 0
        self._unanswered = Unanswered()

    def about(self, context: KeyVersionContext, *, is_shared: bool) -> tuple[Question, bool]:
        """Return the question for a version, and whether it is for this thread to ask it.

        Args:
            context: the version.
            is_shared: whether what is answered is for other threads, too.

        Raises:
            RootKeyRefused, RootKeyUnavailable: as it was raised last, and its pause is not over.
        """
        self._unanswered.check(context)
        there = self.asked.get(context) if is_shared else None
        if there is not None and not there.is_lost():
            # A signal handler, or a root key that reads a value, must not wait for its own thread.
            is_ours = there.asked_by == get_ident()
            return (Question(self.evictions), True) if is_ours else (there, False)
        question = Question(self.evictions)
        if is_shared:
            self.asked[context] = question
        return question, True

    def end(
        self, question: Question, context: KeyVersionContext, error: BaseException | None
    ) -> bool:
        """Note what came of a question; return whether it failed and had not before."""
        if self.asked.get(context) is question:
            del self.asked[context]
        return self._unanswered.note(context, error)

    def refused(self, context: KeyVersionContext, error: Exception) -> None:
        """Note that a version is not opened any more, after no question: it was renewed."""
        self._unanswered.note(context, error)

    def clear(self) -> None:
        """Have everything be asked anew, at once."""
        self.evictions += 1
        self.asked.clear()
        self._unanswered.clear()


class Silence:
    """That of one root key: where a caller waited in vain, others fail at once for a while.

    It lasts ten times as long as the caller waited. So a root key that hangs takes a tenth of a
    thread's time, however many versions the thread needs; and one that fails within a second is
    asked for each, since what is wrong may be about that one.
    """

    _TIMES = 10
    _NOTICED_SECONDS = 1

    def __init__(self) -> None:
        self._until = 0.0
        self._error: Exception | None = None

    def check(self) -> None:
        """Return if the root key may be asked.

        Raises:
            RootKeyUnavailable: as it was raised last.
        """
        error = self._error
        if error is not None and moment().monotonic < self._until:
            raise copied(error)

    def note(self, error: RootKeyUnavailable, since: Moment) -> None:
        """Begin, after the root key was asked `since` then, and did not answer."""
        now = moment().monotonic
        waited = now - since.monotonic
        if waited >= self._NOTICED_SECONDS:
            self._error = copied(error)
            self._until = now + min(self._TIMES * waited, LONGEST_PAUSE_SECONDS)


def may_wait() -> bool:
    """Whether a database or a root key may be asked in this thread: no event loop is running.

    As in Django, `DJANGO_ALLOW_ASYNC_UNSAFE` allows it all the same: for notebooks, whose cells
    run in an event loop.
    """
    try:
        get_running_loop()
    except RuntimeError:
        return True
    return bool(os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE"))


def refuse_in_event_loop() -> None:
    """Return if a database or a root key may be asked in this thread.

    Raises:
        OpeningNeedsThread: it may not.
    """
    if not may_wait():
        raise OpeningNeedsThread(
            "its key has to be asked for, which cannot be done while an event loop is running: "
            "do it in a thread."
        )
