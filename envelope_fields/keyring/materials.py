"""Plaintext material: unwrapped, used and wiped here. It is never returned.

The root key is asked once per version, process and greatest age. At that age, material that is in
use is renewed, which is opened anew. It is used on while there is no answer, or one that is not
about the right to use it; where the root key refuses, it is dropped. What a transaction with
uncommitted key changes opens stays with these changes, and goes with them (law 3).
"""

import logging
from collections.abc import Callable
from hmac import compare_digest
from threading import RLock
from typing import TypeVar
from weakref import WeakKeyDictionary, finalize

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.core.exceptions import ImproperlyConfigured

from envelope_fields import forks
from envelope_fields.crypto import xaes
from envelope_fields.crypto.buffers import KeyBuffer, wipe
from envelope_fields.crypto.context import KeyVersionContext
from envelope_fields.databases import may_wait
from envelope_fields.exceptions import (
    EnvelopeError,
    MasterKeyNotFound,
    MasterKeyUnusable,
    WrappedKeyAltered,
)
from envelope_fields.keyring import opening, rows, wrapping
from envelope_fields.keyring.age import Material, Store
from envelope_fields.keyring.opening import Question, Questions, refuse_in_event_loop
from envelope_fields.models import KeyUsage, key_changes
from envelope_fields.models.key_changes import KeyChange

_Result = TypeVar("_Result")

_logger = logging.getLogger(__name__)
_plaintext = Store()  # of the process
_of_changes: WeakKeyDictionary[KeyChange, Store] = WeakKeyDictionary()
_questions = Questions()
_lock = RLock()  # of all these, and of material while it is used; never while a root key is asked
_drop_listeners: list[Callable[[bytes | None], None]] = []


def derived(row: rows.KeyRow, prefix: bytes) -> AESGCM:
    """Return the key that a version's material gives with a nonce prefix; errors as below."""
    return used(row, lambda material: xaes.derive(material, prefix))


def opened(row: rows.KeyRow) -> None:
    """Have the material of a version here before a transaction in which it is needed.

    Errors are those of `used`.
    """
    used(row, lambda material: None)


def used(
    row: rows.KeyRow, use: Callable[[KeyBuffer], _Result], *, may_renew: bool = True
) -> _Result:
    """Return what `use` makes of the material of a version, which it does not keep.

    At the greatest age of the material, the first caller outside an event loop asks the root key
    anew, and others go on meanwhile.

    Args:
        row: the version.
        use: given the material.
        may_renew: whether this caller may be the one.

    Raises:
        ImproperlyConfigured: its root key is not in the settings, or not a key.
        RootKeyRefused, RootKeyUnavailable: as the root key says.
        MasterKeyNotFound: the version is gone since its material was opened.
        MasterKeyUnusable: the keyring was emptied while `use` had the material.
        OpeningNeedsThread: an event loop is running, and the root key would have to be asked.
    """
    context = row.context
    while True:
        with _lock:
            store = _store(row)
            material = store.usable(context)
            if material is None:
                refuse_in_event_loop()
                question, is_ours = _questions.about(context, is_shared=store is _plaintext)
            elif not (may_renew and _begin_renewal(store, material)):
                return _unless_wiped(use, material)
        if material is not None:
            _renew(row, material)
            may_renew = False  # once: what comes may be as old as that by now
        elif is_ours:
            break
        else:
            question.wait()
    material = _ask(question, row)
    try:
        return use(material)
    finally:
        _keep(question, context, material, store)


def renew_early(row: rows.KeyRow) -> None:
    """Ask the root key anew for material at half of its greatest age, if it is here.

    Others may look in an event loop at what is loaded, where no root key is asked. Raises nothing:
    what was refused is met where it is used.
    """
    with _lock:
        material = _plaintext.usable(row.context)
        if material is None or not _begin_renewal(_plaintext, material, share=0.5):
            return
    try:
        _renew(row, material)
    except EnvelopeError:
        _logger.warning("Material of %s was dropped", row.state)


def _store(row: rows.KeyRow) -> Store:
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
        store = _of_changes[change] = Store()
        finalize(change, store.wipe)
    return store


def _ask(question: Question, row: rows.KeyRow) -> Material:
    """Return the material, of which no other thread knows yet; errors as `used` raises them."""
    try:
        return opening.unwrapped(row)
    except BaseException as error:
        if _end(question, row.context, error) and opening.is_refusal(error):
            with _lock:
                _plaintext.ask_soon(row.wrap.root_key)
        raise


def _keep(question: Question, context: KeyVersionContext, material: Material, store: Store) -> None:
    """Put material where others find it, or wipe it where the keyring was emptied since."""
    with _lock:
        is_new = question.since == _questions.evictions
        if not is_new or store.setdefault(context, material) is not material:
            wipe(material)
    _end(question, context, None)


def _end(question: Question, context: KeyVersionContext, error: BaseException | None) -> bool:
    """Let others go on; return whether it failed and had not before."""
    with _lock:
        is_first = _questions.end(question, context, error)
    question.answer(error)
    return is_first


def _begin_renewal(store: Store, material: Material, *, share: float = 1) -> bool:
    # What hangs in a transaction is not older than that.
    return (
        store is _plaintext and material.is_due(share) and may_wait() and material.begin_renewal()
    )


def _renew(row: rows.KeyRow, material: Material) -> None:
    """Ask the root key anew, and have the answer in the place of the material.

    Where that raises, as `_renewed` does, the material is dropped.
    """
    found = None
    try:
        found = _renewed(row, material)
        if found is not None:
            with _lock:
                _plaintext.replace(row.context, material, found)
    except EnvelopeError as error:
        with _lock:
            _questions.pause(row.context, error)
            _plaintext.drop(row.context, material)
            if opening.is_refusal(error):
                _plaintext.ask_soon(material.root_key)
        _forget_derived(row.state.version_id)
        raise
    finally:
        material.end_renewal(answered=found is not None)


def _renewed(row: rows.KeyRow, material: Material) -> Material | None:
    """Return what a root key opens now in the place of material; None where that is used on.

    Raises:
        RootKeyRefused, MasterKeyNotFound: it says no; or the version is gone, or destroyed.
    """
    try:
        return _opened_anew(row, material)
    except Exception as error:  # whatever it is, what is here may still be used
        if opening.is_refusal(error) or isinstance(error, MasterKeyNotFound):
            raise
        # Not its traceback: frames hold key buffers. Nor what others say, which may be anything.
        is_ours = isinstance(error, EnvelopeError | ImproperlyConfigured)
        opening.logger.warning(
            "Material of %s is used although it is %.0f s old: %s%s",
            row.state, material.asked_at.age(), type(error).__name__,
            f": {error}" if is_ours else "",
        )  # fmt: skip
        return None


def _opened_anew(row: rows.KeyRow, material: Material) -> Material:
    present = rows.read_again(row)  # another root key may wrap it now
    if present.context != row.context:
        raise WrappedKeyAltered(f"The row of {row.state} names another key, number or usage now.")
    found = opening.unwrapped(present)
    # Zeros are what another thread leaves that evicts it, also between these two looks.
    if not compare_digest(found, material) and any(material):
        wipe(found)
        raise WrappedKeyAltered(f"What wraps {row.state} now is other material.")
    return found


def _forget_derived(version_id: bytes | None) -> None:
    for listener in _drop_listeners:
        listener(version_id)


def on_drop(listener: Callable[[bytes | None], None]) -> None:
    """Call `listener` with the id of a version whose material was dropped; None is of all."""
    _drop_listeners.append(listener)


def _unless_wiped(use: Callable[[KeyBuffer], _Result], material: KeyBuffer) -> _Result:
    # Locked: another thread that evicts must not wipe it in our hands.
    result = use(material)
    # A signal handler of this thread may: what was made of zeros must not be used.
    if not any(material):
        raise MasterKeyUnusable("The keyring was emptied while it was used. Try again.")
    return result


def remaining_seconds() -> float:
    """Return for how long all material that is here may be used yet."""
    with _lock:
        return _plaintext.remaining_seconds()


def lasts(row: rows.KeyRow, until: float) -> bool:
    """Whether the material of a version may be used until then, on the clock of `age.uptime`."""
    with _lock:
        return _plaintext.lasts(row.context, until)


def wipe_what_is_over() -> None:
    """Wipe and drop what may not be used any more."""
    with _lock:
        _plaintext.wipe_what_is_over()


def is_cached(row: rows.KeyRow) -> bool:
    """Whether the material of a version is here, so that no root key has to be asked."""
    with _lock:
        return _plaintext.usable(row.context) is not None


def evict() -> None:
    """Wipe and drop all material: the next use asks the root key.

    Answers that are under way are used by those who asked, and not kept.
    """
    with _lock:
        _questions.clear()
        wrapping.ask_at_once()
        for store in (_plaintext, *_of_changes.values()):
            store.wipe()
    _forget_derived(None)


def _after_fork() -> None:
    global _lock
    _lock = RLock()  # a thread of the parent may have held it
    _questions.asked.clear()  # no thread is left that asks them
    for material in _plaintext.values():
        material.end_renewal(answered=True)
        material.draw_share()


forks.in_child(_after_fork)
