"""Keys of other packages' formats: derived once from a setting, kept and wiped as material is.

They open what was stored before a field of ours had the column, and wrap nothing. What they follow
from is in the settings of the project, so losing one costs no more than deriving it again.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from hashlib import blake2b
from threading import RLock
from typing import TypeVar

from envelope_fields.conf import configuration
from envelope_fields.crypto.buffers import KeyBuffer, wipe
from envelope_fields.crypto.context import encode
from envelope_fields.keyring import materials
from envelope_fields.keyring.age import Moment, moment

_Result = TypeVar("_Result")
_Derive = Callable[[], KeyBuffer]


class _LegacyKey(KeyBuffer):
    """A derived key, with its age."""

    __slots__ = ("since",)

    since: Moment


_keys: dict[bytes, _LegacyKey] = {}
_names_of = os.urandom(32)  # so that what they are kept under tells nothing of a setting
_lock = RLock()


def used(
    purpose: str, parts: tuple[bytes, ...], derive: _Derive, use: Callable[[KeyBuffer], _Result]
) -> _Result:
    """Return what `use` makes of a derived key, which it does not keep.

    Args:
        purpose: what the key is for, such as the name of a format.
        parts: what it follows from: the secret, the salt.
        derive: makes it, in a buffer of at most 64 bytes.
        use: given the key.
    """
    name = blake2b(encode([purpose.encode(), *parts]), key=_names_of, digest_size=32).digest()
    with _lock:
        known = _usable(name)
        if known is not None:
            return use(known)
    derived = derive()  # under no lock: it may take a quarter of a second
    with _lock:
        return use(_usable(name) or _kept(name, derived))


def _usable(name: bytes) -> _LegacyKey | None:
    known = _keys.get(name)
    if known is not None and known.since.age() >= configuration().least_max_age:
        wipe(_keys.pop(name))
        return None
    return known


def _kept(name: bytes, derived: KeyBuffer) -> _LegacyKey:
    kept = _keys[name] = _LegacyKey(derived)
    kept.since = moment()
    wipe(derived)
    return kept


def _wipe_all(version_id: bytes | None) -> None:
    """Wipe everything where the keyring is emptied, and nothing where one version was dropped."""
    if version_id is None:
        with _lock:
            while _keys:
                wipe(_keys.popitem()[1])


def _after_fork() -> None:
    global _lock
    _lock = RLock()  # a thread of the parent may have held it


materials.on_drop(_wipe_all)
os.register_at_fork(after_in_child=_after_fork)
