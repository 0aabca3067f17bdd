"""Material on its way to root keys and back: only here is a root key asked.

No lock and no transaction of ours is held meanwhile, because an answer may take long.
"""

import atexit
import logging
from collections.abc import Callable
from hmac import compare_digest
from threading import RLock
from traceback import extract_tb
from typing import Any, NamedTuple, TypeVar

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from envelope_fields import forks
from envelope_fields.conf import SETTING, WRAPPING_KEY_ID_LENGTH, configuration
from envelope_fields.conf.backends import BackendSettings
from envelope_fields.crypto import xaes
from envelope_fields.crypto.buffers import KeyBuffer, wipe
from envelope_fields.exceptions import (
    EnvelopeError,
    RootKeyRefused,
    RootKeyUnavailable,
    WrappedKeyAltered,
    copied,
)
from envelope_fields.keyring.age import LONGEST_PAUSE_SECONDS, Moment, moment
from envelope_fields.root_keys import KeyVersionContext, MayNotUnwrap, RootKey, Unwrapped, Wrapped

_Answer = TypeVar("_Answer")

# For how long a session is fresh: what it is refused, a new one would be refused, too.
FRESH_SECONDS = 60

_logger = logging.getLogger("envelope_fields.root_keys")
_made: dict[BackendSettings, RootKey] = {}
_lock = RLock()  # of making one, which touches nothing outside


class Silence:
    """That of one root key: where a caller waited in vain, others fail at once for a while.

    It lasts ten times as long as the caller waited. So a root key that hangs takes a tenth of a
    thread's time, however many versions the thread needs; and one that fails within a second is
    asked for each, since what is wrong may be about that one.
    """

    def __init__(self) -> None:
        self._until = 0.0
        self._error: Exception | None = None

    def check(self) -> None:
        """Return if the root key may be asked; else raise what was raised last."""
        error = self._error
        if error is not None and moment().monotonic < self._until:
            raise copied(error)

    def note(self, error: RootKeyUnavailable, since: Moment) -> None:
        """Begin, after the root key was asked `since` then, and did not answer."""
        now = moment().monotonic
        waited = now - since.monotonic
        if waited >= 1:
            self._error = copied(error)
            self._until = now + min(10 * waited, LONGEST_PAUSE_SECONDS)


# By the names of root keys:
_silences: dict[str, Silence] = {}
_sessions: dict[str, tuple[int, Moment]] = {}  # how often each began anew, and when last
_renewing: dict[str, RLock] = {}  # while one does, for which threads that need it wait


class Wrapping(NamedTuple):
    """Material as a root key has just wrapped it."""

    material: bytes  # wrapped
    wrapping_key_id: str  # what the root key says that it wrapped with
    is_opened: bool  # again; False where this process may wrap alone


def wrap(root_key: str, material: bytearray, context: KeyVersionContext) -> Wrapping:
    """Have a root key wrap material, and open that again to see that it gives back the same.

    Raises:
        ImproperlyConfigured: the root key is not in the settings, or not a key.
        RootKeyRefused, RootKeyUnavailable: as the root key says.
    """
    wrapped: Any = _answer(root_key, lambda root: root.wrap(material, context))
    given: Any = wrapped if isinstance(wrapped, Wrapped) else (None, None)
    if not isinstance(given[0], bytes) or not _is_id(given[1]):
        raise RootKeyRefused(
            f"The backend of the root key {root_key!r} must return a Wrapped of bytes, and of an "
            f"id that is text of at most {WRAPPING_KEY_ID_LENGTH} characters."
        )
    try:
        opened, wrapping_key_id = unwrap_identified(root_key, wrapped.material, context)
    except MayNotUnwrap:
        return Wrapping(wrapped.material, wrapped.wrapping_key_id, is_opened=False)
    try:
        same = compare_digest(opened, material)
    finally:
        wipe(opened)
    if not same:
        raise RootKeyRefused(f"The root key {root_key!r} does not give back what it wrapped.")
    wrapping_key_id = wrapping_key_id or wrapped.wrapping_key_id
    return Wrapping(wrapped.material, wrapping_key_id, is_opened=True)


def unwrap(root_key: str, wrapped: bytes, context: KeyVersionContext) -> KeyBuffer:
    """Have a root key open material, which the caller wipes; errors as above.

    Where it has let another caller wait in vain, it is not asked for a while.
    """
    silence = _silences.setdefault(root_key, Silence())
    silence.check()
    since = moment()
    try:
        # In no variable of this frame, which error reports show.
        return _taken_over(
            root_key, Unwrapped(_answer(root_key, lambda root: root.unwrap(wrapped, context)))
        )[0]
    except RootKeyUnavailable as error:
        silence.note(error, since)
        raise


def unwrap_identified(
    root_key: str, wrapped: bytes, context: KeyVersionContext
) -> tuple[KeyBuffer, str]:
    """Have a root key open material, which the caller wipes, and say what it was wrapped with."""
    return _taken_over(
        root_key, _answer(root_key, lambda root: root.unwrap_identified(wrapped, context))
    )


def _taken_over(root_key: str, answer: Any) -> tuple[KeyBuffer, str]:
    """Return in a buffer of ours what a backend opened, and wipe what it gave."""
    given: Any = answer if isinstance(answer, Unwrapped) else (None, None)
    material, wrapping_key_id = given
    del answer, given  # error reports show the variables of each frame
    is_material = isinstance(material, bytearray) and len(material) == xaes.KEY_BYTES
    if is_material and any(material) and _is_id(wrapping_key_id):
        buffer = KeyBuffer(material)
        wipe(material)
        return buffer, wrapping_key_id
    del material
    # It stops a version that is opened first, and drops no material that was opened before.
    raise WrappedKeyAltered(
        f"The backend of the root key {root_key!r} must return {xaes.KEY_BYTES} bytes in a "
        "bytearray, and leave the wiping to its caller; where it returns an id beside them, "
        f"that is text of at most {WRAPPING_KEY_ID_LENGTH} characters."
    )


def check_root_key(name: str, *, ask_services: bool = True) -> None:
    """Raise what the next use of the root key `name` would raise, as for `wrap`.

    Args:
        name: of the root key, in the settings.
        ask_services: whether one that is a service is asked, or its options alone are read.
    """

    def check(root_key: RootKey) -> None:
        if ask_services or not root_key.asks_service:
            root_key.check()

    _ask(name, check)


def is_service(name: str) -> bool:
    """Whether the root key `name` asks something outside of this process; errors as for `wrap`."""
    return _ask(name, lambda root_key: root_key.asks_service)


def current_wrapping_key_id(name: str) -> str | None:
    """Return the id of what the root key `name` wraps with now; None where it gives none.

    Errors are those of `wrap`.
    """
    answer = _answer(name, lambda root_key: root_key.current_wrapping_key_id())
    if answer is None or _is_id(answer):
        return answer or None
    raise RootKeyRefused(
        f"The backend of the root key {name!r} must say what it would wrap with in a text of at "
        f"most {WRAPPING_KEY_ID_LENGTH} characters, or return None."
    )


def ask_at_once() -> None:
    """Let every root key be asked, also one that has let callers wait in vain."""
    _silences.clear()


def close() -> None:
    """Close the root keys that were made; the next use makes them anew."""
    _silences.clear()
    _sessions.clear()
    while _made:
        entry, root_key = _made.popitem()
        try:
            root_key.close()
        except Exception as error:
            _logger.warning("%s could not be closed: %s", entry.where, _seen(error))


def _answer(name: str, question: Callable[[RootKey], _Answer]) -> _Answer:
    """Return what a root key answers; where it refuses, once more with credentials read again."""
    session = _sessions.get(name)
    try:
        return _ask(name, question)
    except WrappedKeyAltered:  # our row, and not the right to open it
        raise
    except RootKeyRefused:
        if not _has_begun_anew(name, session):
            raise
    return _ask(name, question)


def _has_begun_anew(name: str, session: tuple[int, Moment] | None) -> bool:
    """Have a root key begin anew, unless its session is fresh; return whether it is another now."""
    with _renewing.setdefault(name, RLock()):
        present = _sessions.get(name)
        if present != session:  # another thread had it do so
            return True
        times, began_at = present or (0, None)
        if began_at is not None and began_at.age() < FRESH_SECONDS:
            return False
        try:
            _ask(name, lambda root_key: root_key.refresh())
        except Exception as error:  # what was refused stays refused
            _logger.warning("The root key %r did not begin anew: %s", name, _seen(error))
            return False
        finally:
            _sessions[name] = times + 1, moment()
    return True


def _ask(name: str, question: Callable[[RootKey], _Answer]) -> _Answer:
    entry = configuration().root_keys[name]
    try:
        return question(_root_key(entry))
    except (EnvelopeError, ImproperlyConfigured):
        raise
    except ValueError as error:
        # Backends do not know Django; to the project a missing root key is a wrong setting.
        failure: Exception = ImproperlyConfigured(f"{entry.where}: {error}")
    except Exception as error:
        seen = _seen(error)
        _logger.error("%s: %s is not a root key's error: taken for unavailable", entry.where, seen)
        failure = RootKeyUnavailable(
            f"The root key {name!r} cannot be asked: its backend raised {type(error).__name__}. "
            "The log of envelope_fields.root_keys says where."
        )
    # Not in the handlers: error reports show the variables of a client library's frames.
    raise failure


def _seen(error: Exception) -> str:
    """Return the class of an error and where it was raised; its message may hold anything."""
    frames = extract_tb(error.__traceback__)
    where = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{where}"


def _root_key(entry: BackendSettings) -> RootKey:
    made = _made.get(entry)
    if made is None:
        with _lock:
            made = _made.get(entry)
            if made is None:
                # A signal handler of this thread may have made one by the time that this is made.
                made = _made.setdefault(entry, entry.make(RootKey))  # type: ignore[type-abstract]
    return made


def _is_id(wrapping_key_id: Any) -> bool:
    return isinstance(wrapping_key_id, str) and len(wrapping_key_id) <= WRAPPING_KEY_ID_LENGTH


def _after_fork() -> None:
    global _lock
    _lock = RLock()  # a thread of the parent may have held it, or one of those below
    _renewing.clear()
    for entry, root_key in _made.items():
        try:
            root_key.after_fork()
        except Exception as error:  # the others must not share what is their parent's, either
            _logger.error("%s: %s after a fork", entry.where, _seen(error))


def _settings_changed(*, setting: str, **_: Any) -> None:
    if setting == SETTING:
        close()


forks.in_child(_after_fork)
setting_changed.connect(_settings_changed, dispatch_uid="envelope_fields.keyring.wrapping")
atexit.register(close)
