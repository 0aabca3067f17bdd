"""Keys of other packages' formats: derived once from a setting, kept and wiped as material is.

They open what was stored before a field of ours had the column, and wrap nothing. What they follow
from is in the settings of the project, so losing one costs no more than deriving it again.

Those packages do not ask who reads. Here, it is asked whether the principal may decrypt under the
key that the field has now, and whether the column still holds what they have stored.
"""

import os
from collections.abc import Callable
from hashlib import blake2b
from threading import RLock
from typing import TypeVar

from envelope_fields import forks
from envelope_fields.conf import configuration
from envelope_fields.crypto.buffers import KeyBuffer, wipe
from envelope_fields.crypto.context import encode
from envelope_fields.keyring import materials, uses
from envelope_fields.keyring.age import Moment, moment
from envelope_fields.keyring.cache import current_table

_Result = TypeVar("_Result")
_Derive = Callable[[], KeyBuffer]


class _LegacyKey(KeyBuffer):
    """A derived key, with its age."""

    __slots__ = ("since",)

    since: Moment


_keys: dict[bytes, _LegacyKey] = {}
_MOST = 256  # one package derives a key for each of its values
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
    try:
        with _lock:
            return use(_usable(name) or _kept(name, derived))
    finally:
        wipe(derived)


def admit(key: str, field_path: str, *, to_verify: bool = False) -> None:
    """Return if the principal may read values of a field, `app.model.field`, that has a key.

    Args:
        key: the alias of the master key that the field writes under.
        field_path: of the field.
        to_verify: whether it is a look that does not count as a use of the value.

    Raises:
        MasterKeyNotFound, MasterKeyUnusable, KeyAccessDenied: they may not.
    """
    uses.this_thread.has_used_key = True
    table = current_table()
    policy_data, row = table.policy_data, table.current_version(key)
    purpose = uses.VERIFY_VALUE if to_verify else uses.READ_FIELD
    uses.admit(policy_data, row, field_path, purpose)


def look_up(key: str) -> None:
    """Have what `admit` needs of a key here, so that it asks nothing in an event loop."""
    current_table(at_half_life=True).current_version(key)


def _usable(name: bytes) -> _LegacyKey | None:
    known = _keys.get(name)
    if known is not None and _is_too_old(known):
        wipe(_keys.pop(name))
        return None
    return known


def _is_too_old(key: _LegacyKey) -> bool:
    return key.since.age() >= configuration().lifetimes.least_max_age


def _kept(name: bytes, derived: KeyBuffer) -> _LegacyKey:
    for other in [each for each, key in _keys.items() if _is_too_old(key)]:
        wipe(_keys.pop(other))
    while len(_keys) >= _MOST:
        wipe(_keys.pop(next(iter(_keys))))  # that was derived first
    kept = _keys[name] = _LegacyKey(derived)
    kept.since = moment()
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
forks.in_child(_after_fork)
