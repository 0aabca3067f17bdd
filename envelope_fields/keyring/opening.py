"""How key versions are opened: by any of their wraps, and with one question for each at a time.

The wrap in the row of the version is asked first, and what its root key says counts. Further ones
open where that does not answer, cannot be asked, or does not open what is stored. Where it refuses,
they are not asked: taking a right away has to have an effect. Where the settings have it no more,
the next of them is the first.

Threads that need what one of them asks for wait for its answer, for a time, and no other thread
does. What was not answered is not asked again before a pause has passed.
"""

import logging
from collections.abc import Iterator
from contextlib import suppress
from threading import Event, get_ident

from django.core.exceptions import ImproperlyConfigured

from envelope_fields.conf import configuration
from envelope_fields.crypto.buffers import KeyBuffer, wipe
from envelope_fields.crypto.context import KeyVersionContext
from envelope_fields.databases import may_wait
from envelope_fields.exceptions import (
    EnvelopeError,
    OpeningNeedsThread,
    RootKeyRefused,
    RootKeyUnavailable,
    WrappedKeyAltered,
    copied,
)
from envelope_fields.keyring import rows, wrapping
from envelope_fields.keyring.age import WAIT_SECONDS, Material, Pause, moment
from envelope_fields.keyring.rows import KeyRow, Wrap

logger = logging.getLogger(__name__)


def opened(row: KeyRow) -> KeyBuffer:
    """Return the material of a version, which the caller wipes; errors as below."""
    return opened_by(row)[0]


def opened_by(row: KeyRow) -> tuple[KeyBuffer, str]:
    """Return the material of a version, and the name of the root key that opened it.

    The row may have been read a while ago: where it does not open, it is read anew.

    Raises:
        ImproperlyConfigured, RootKeyRefused, RootKeyUnavailable: as the root key says whose answer
            counts, where no other one opens the version in its place.
    """
    try:
        return _by_any(row)
    except (EnvelopeError, ImproperlyConfigured):
        present = _moved(row)
        if present is None:
            raise
    return _by_any(present)


def is_refusal(error: BaseException) -> bool:
    """Whether a root key says no: it was decided that material is not to be used any more."""
    # What was altered is our row, and not the key.
    return isinstance(error, RootKeyRefused) and not isinstance(error, WrappedKeyAltered)


def unwrapped(row: KeyRow) -> Material:
    """Return what a root key opens now; its age is from before it was asked. Errors as above."""
    asked_at = moment()
    buffer = opened(row)
    try:
        return Material.of(buffer, row.wrap.root_key, asked_at)
    finally:
        wipe(buffer)


def _moved(row: KeyRow) -> KeyRow | None:
    """Return a row as it is now, where another root key wraps it since."""
    with suppress(Exception):  # what the root key said is more important
        present = rows.read_again(row)
        if present.context == row.context and present.wrap != row.wrap:
            return present
    return None


def _by_any(row: KeyRow) -> tuple[KeyBuffer, str]:
    failures: dict[str, Exception] = {}
    decisive = ""
    try:
        for wrap, counts in _in_order(row):
            try:
                material = wrapping.unwrap(wrap.root_key, wrap.wrapped_material, row.context)
            except (EnvelopeError, ImproperlyConfigured) as error:
                if counts and is_refusal(error):
                    raise
                failures[wrap.root_key] = _named(row, error)
                decisive = wrap.root_key if counts else decisive
            else:
                _log(row, wrap.root_key, failures)
                return material, wrap.root_key
        raise failures[decisive]
    finally:
        failures.clear()  # and the frames that they refer to


def _named(row: KeyRow, error: Exception) -> Exception:
    """Return an error about what is stored of a version, saying of which: root keys do not know."""
    if not isinstance(error, WrappedKeyAltered):
        return error
    named = error.saying(
        f"{row.state}: {str(error).removesuffix('.')}. Have ROOT_KEYS name the root key that "
        "wrapped it, or restore its row from a backup of the keys."
    )
    named.__cause__ = error.__cause__
    return named


def _in_order(row: KeyRow) -> Iterator[tuple[Wrap, bool]]:
    """Go through the wraps as they are to be asked, and whether what a root key says counts.

    Further ones are looked up where they are needed.
    """
    own_is_there = row.wrap.root_key in configuration().root_keys
    if own_is_there:
        yield row.wrap, True
    further = _further(row)
    if not own_is_there and not further:
        yield row.wrap, True  # which says what is wrong
    for number, wrap in enumerate(further):
        yield wrap, not own_is_there and number == 0


def _further(row: KeyRow) -> list[Wrap]:
    """Return the further wraps by root keys that the settings have."""
    there = configuration().root_keys
    with suppress(Exception):
        return [w for w in rows.further_wraps(row.state.version_id) if w.root_key in there]
    return []


def _log(row: KeyRow, root_key: str, failures: dict[str, Exception]) -> None:
    for name, error in failures.items():
        # Not its traceback: frames hold key buffers.
        logger.warning(
            "The root key %r opened %s, since %r did not: %s: %s",
            root_key, row.state, name, type(error).__name__, error,
        )  # fmt: skip


# -- Questions -------------------------------------------------------------------------------------


class Question:
    """What one thread asks a root key, and others wait for."""

    __slots__ = ("_answered", "_began_at", "_error", "asked_by", "since")

    def __init__(self, since: int) -> None:
        self._began_at = moment()
        self.asked_by = get_ident()
        self.since = since  # which eviction was the last before it
        self._answered = Event()
        self._error: Exception | None = None

    def is_lost(self) -> bool:
        """Whether it was asked so long ago that no answer comes."""
        return self._began_at.age() >= WAIT_SECONDS

    def wait(self) -> None:
        """Wait for the answer, and raise the error if it is one; in time, `RootKeyUnavailable`."""
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


class Questions:
    """Those that are being asked, one for each version, and when those before are asked again."""

    _MOST_FAILURES = 4096

    def __init__(self) -> None:
        self.asked: dict[KeyVersionContext, Question] = {}  # for which other threads may wait
        self.evictions = 0  # how often they were cleared
        self._failures: dict[KeyVersionContext, tuple[Pause, Exception]] = {}

    def about(self, context: KeyVersionContext, *, is_shared: bool) -> tuple[Question, bool]:
        """Return the question for a version, and whether it is for this thread to ask it.

        Args:
            context: the version.
            is_shared: whether what is answered is for other threads, too.

        Raises:
            RootKeyRefused, RootKeyUnavailable: as it was raised last, and its pause is not over.
        """
        failed = self._failures.get(context)
        if failed is not None and not failed[0].is_over():
            raise copied(failed[1])
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
        if error is None:
            self._failures.pop(context, None)
        return self.pause(context, error)

    def pause(self, context: KeyVersionContext, error: BaseException | None) -> bool:
        """Have a version that a root key did not open not be asked for; return as `end` does."""
        if not isinstance(error, RootKeyRefused | RootKeyUnavailable):
            return False
        if len(self._failures) >= self._MOST_FAILURES:
            self._failures.pop(next(iter(self._failures)), None)
        failed = self._failures.get(context)
        pause = Pause() if failed is None else failed[0]
        pause.begin()
        # Without its frames, which would keep alive what they refer to.
        self._failures[context] = pause, copied(error)
        return failed is None

    def clear(self) -> None:
        """Have everything be asked anew, at once."""
        self.evictions += 1
        self.asked.clear()
        self._failures.clear()


def refuse_in_event_loop() -> None:
    """Return if a database or a root key may be asked in this thread; else `OpeningNeedsThread`."""
    if not may_wait():
        raise OpeningNeedsThread(
            "its key has to be asked for, which cannot be done while an event loop is running: "
            "do it in a thread."
        )
