"""Plaintext material: unwrapped, used and wiped here. It is never returned.

The root key is asked once per version and process; what it opened stays until it is evicted or
the process ends. Threads that need a version which one of them asks for wait for its answer, and no
other thread does. What a transaction with uncommitted key changes opens stays with these changes,
and goes with them (law 3).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from copy import copy
from threading import Event, RLock, get_ident
from typing import TypeVar
from weakref import WeakKeyDictionary, finalize

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from envelope_fields.crypto import xaes
from envelope_fields.crypto.buffers import KeyBuffer, wipe
from envelope_fields.crypto.context import KeyVersionContext
from envelope_fields.exceptions import MasterKeyUnusable
from envelope_fields.keyring import rows, wrapping
from envelope_fields.models import KeyUsage, key_changes
from envelope_fields.models.key_changes import KeyChange

_Result = TypeVar("_Result")
_Store = dict[KeyVersionContext, KeyBuffer]

# By what the root key bound it to: a row that was altered since is not taken for the same.
_plaintext: _Store = {}
_of_changes: WeakKeyDictionary[KeyChange, _Store] = WeakKeyDictionary()
_questions: dict[KeyVersionContext, _Question] = {}
_evictions = 0
_lock = RLock()  # of all these, and of material while it is used; never while a root key is asked


class _Question:
    """What one thread asks a root key, and others wait for."""

    __slots__ = ("_answered", "_error", "_since", "asked_by")

    def __init__(self) -> None:
        self.asked_by = get_ident()
        self._since = _evictions
        self._answered = Event()
        self._error: Exception | None = None

    def wait(self) -> None:
        """Wait for the answer, and raise the error if it is one."""
        self._answered.wait()
        if self._error is not None:
            raise _copied(self._error)

    def ask(self, row: rows.KeyRow) -> KeyBuffer:
        """Return the material, of which no other thread knows yet; errors as `used` raises them."""
        try:
            return _unwrap(row)
        except BaseException as error:
            if isinstance(error, Exception):
                self._error = error
            self._end(row.context)
            raise

    def keep(self, context: KeyVersionContext, material: KeyBuffer, store: _Store) -> None:
        """Put the material where others find it, or wipe it where the keyring was emptied since."""
        with _lock:
            if self._since == _evictions and context not in store:
                store[context] = material
            else:
                wipe(material)
        self._end(context)

    def _end(self, context: KeyVersionContext) -> None:
        with _lock:
            if _questions.get(context) is self:
                del _questions[context]
        self._answered.set()


def _copied(error: Exception) -> Exception:
    """Return an error for another thread, which adds frames of its own to it, if possible."""
    try:
        return copy(error)
    except Exception:  # that of a client library, which is made of more than its message
        return error


def derived(row: rows.KeyRow, prefix: bytes) -> AESGCM:
    """Return the key that a version's material gives with a nonce prefix.

    Raises:
        ImproperlyConfigured: its root key is not in the settings, or not a key.
        RootKeyRefused, RootKeyUnavailable: as the root key says.
    """
    return used(row, lambda material: xaes.derive(material, prefix))


def opened(row: rows.KeyRow) -> None:
    """Have the material of a version here, so that its next use asks no root key; errors as above.

    For those who are about to begin a transaction in which it is needed.
    """
    used(row, lambda material: None)


def used(row: rows.KeyRow, use: Callable[[KeyBuffer], _Result]) -> _Result:
    """Return what `use` makes of the material of a version, which it does not keep.

    Raises:
        ImproperlyConfigured: its root key is not in the settings, or not a key.
        RootKeyRefused, RootKeyUnavailable: as the root key says.
        MasterKeyUnusable: the keyring was emptied while `use` had the material.
    """
    context = row.context
    while True:
        with _lock:
            store = _store(row)
            material = store.get(context)
            if material is not None:
                return _unless_wiped(use, material)
            question, is_ours = _question(context, store)
        if is_ours:
            break
        question.wait()
    material = question.ask(row)
    try:
        return use(material)
    finally:
        question.keep(context, material, store)


def _store(row: rows.KeyRow) -> _Store:
    """Return where the material of a version is kept: for the process, or with a key change.

    The key of the audit trail is used in the very transactions that change keys. It is kept for the
    process unless its own row is uncommitted: each operation would ask the root key otherwise.
    """
    if row.context in _plaintext or not key_changes.any_uncommitted():
        return _plaintext
    change = key_changes.maker_of(row.state.version_id)
    if change is None and row.usage != KeyUsage.GENERATE_VERIFY_MAC:
        change = key_changes.uncommitted()
    if change is None:
        return _plaintext
    store = _of_changes.get(change)
    if store is None:
        store = _of_changes[change] = {}
        finalize(change, _wipe, store)
    return store


def _question(context: KeyVersionContext, store: _Store) -> tuple[_Question, bool]:
    """Return the question for a version, and whether it is for this thread to ask it."""
    if store is not _plaintext:  # of this thread's connection
        return _Question(), True
    there = _questions.get(context)
    if there is None:
        question = _questions[context] = _Question()
        return question, True
    # A signal handler, or a root key that reads a value itself, must not wait for its own thread.
    return (_Question(), True) if there.asked_by == get_ident() else (there, False)


def _unless_wiped(use: Callable[[KeyBuffer], _Result], material: KeyBuffer) -> _Result:
    # Locked: another thread that evicts must not wipe it in our hands.
    result = use(material)
    # A signal handler of this thread may: what was made of zeros must not be used.
    if not any(material):
        raise MasterKeyUnusable("The keyring was emptied while it was used. Try again.")
    return result


def check_version(version_id: bytes) -> None:
    """Have the root key open the material of a key version now, and wipe it at once.

    No cache is asked or filled, and the policy is not: nothing is done with the material.

    Raises:
        MasterKeyNotFound: no key version has this id.
        MasterKeyUnusable: the database could not be read.
        ImproperlyConfigured: its root key is not in the settings, or not a key.
        RootKeyRefused, RootKeyUnavailable: as the root key says.
    """
    wipe(_unwrap(rows.with_version_id(version_id, usage=None)))


def identify_version(row: rows.KeyRow) -> str:
    """Return what the root key says that a key version was wrapped with; may be empty.

    Its material is opened, and wiped at once; otherwise as `check_version`.
    """
    material, wrapping_key_id = wrapping.unwrap_identified(
        row.root_key, row.wrapped_material, row.context
    )
    wipe(material)
    return wrapping_key_id


def is_cached(row: rows.KeyRow) -> bool:
    """Whether the material of a version is here, so that no root key has to be asked."""
    return row.context in _plaintext


def evict() -> None:
    """Wipe and drop all material: the next use asks the root key.

    Answers that are under way are used by those who asked, and not kept.
    """
    global _evictions
    with _lock:
        _evictions += 1
        _questions.clear()
        for store in (_plaintext, *_of_changes.values()):
            _wipe(store)


def _wipe(store: _Store) -> None:
    while store:
        wipe(store.popitem()[1])


def _unwrap(row: rows.KeyRow) -> KeyBuffer:
    return wrapping.unwrap(row.root_key, row.wrapped_material, row.context)


def _after_fork() -> None:
    global _lock
    _lock = RLock()  # a thread of the parent may have held it
    _questions.clear()  # no thread is left that asks them


os.register_at_fork(after_in_child=_after_fork)
