"""The wraps of a key version, each by another root key: made, moved, and looked at one by one.

Which of them opens a version that is needed is for `opening`.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from hmac import compare_digest
from typing import Any, NamedTuple
from uuid import UUID

from django.utils import timezone

from envelope_fields.conf import configuration
from envelope_fields.crypto import format as layout, xaes
from envelope_fields.crypto.buffers import KeyBuffer, random_buffer, wipe
from envelope_fields.crypto.context import KeyVersionContext
from envelope_fields.exceptions import MasterKeyUnusable, WrappedKeyAltered
from envelope_fields.keyring import opening, rows, wrapping
from envelope_fields.keyring.rows import KeyRow, Wrap
from envelope_fields.models import FurtherWrap, KeyUsage

Columns = dict[str, Any]


class Generated(NamedTuple):
    """A new key version: its key, and the columns of its row and of each further wrap."""

    key_id: UUID
    columns: Columns
    further: list[Columns]

    def further_wraps(self) -> list[FurtherWrap]:
        """Return the further wraps, not saved yet."""
        return [FurtherWrap(**columns) for columns in self.further]


def generate_version(
    key_id: UUID, number: int, usage: str, root_key: str | None = None
) -> Generated:
    """Return a new key version, its material made here and wrapped at once by all its root keys.

    What was wrapped is opened again before it is returned, so that nothing is ever stored under a
    version that a root key of its would refuse. Where this process may wrap alone with one of them,
    the version is not opened, and is current only once it is.

    Args:
        key_id: the master key.
        number: of the version.
        usage: of the key.
        root_key: the name of the root key that wraps it; None is the first in the settings. Those
            that its entry names wrap it, too.

    Raises:
        ImproperlyConfigured: no usable root key; the message says which command makes one.
        RootKeyRefused, RootKeyUnavailable: as a root key says.
    """
    generated, not_opened = _generated(key_id, number, usage, root_key)
    opened_at = None if not_opened else timezone.now()
    return generated._replace(columns={**generated.columns, "opened_at": opened_at})


def generate_audit_key(key_id: UUID, number: int) -> Generated:
    """Return a new key of the audit trail, which is usable at once; errors as above.

    Raises:
        MasterKeyUnusable: this process may wrap alone.
    """
    generated, not_opened = _generated(key_id, number, KeyUsage.GENERATE_VERIFY_MAC, None)
    if not_opened:
        raise MasterKeyUnusable(
            f"The key of the audit trail cannot be made here: the root key {not_opened[0]!r} "
            "lets this process wrap and not unwrap, and events need the key at once. Run "
            "`python manage.py migrate`, or change a key, where it may unwrap."
        )
    return generated


def _generated(
    key_id: UUID, number: int, usage: str, root_key: str | None
) -> tuple[Generated, list[str]]:
    """Return a version, and the root keys that let this process wrap and not unwrap."""
    version_id = os.urandom(layout.VERSION_ID_BYTES)
    context = KeyVersionContext(key_id, version_id, number, usage)
    root_keys = configuration().wrapped_by[root_key or None]
    material = random_buffer(xaes.KEY_BYTES)
    try:
        made = {name: wrapping.wrap(name, material, context) for name in root_keys}
    finally:
        wipe(material)
    own, *further = [
        Wrap(name, each.material, each.wrapping_key_id)._asdict() for name, each in made.items()
    ]
    named = {"version_id": version_id}
    columns = {**named, "number": number, **own}
    generated = Generated(key_id, columns, [{**named, **each} for each in further])
    return generated, [name for name, each in made.items() if not each.is_opened]


def check_version(version_id: bytes) -> None:
    """Have a key version opened now, by any of its root keys, and wipe the material at once.

    No cache is asked or filled, and the policy is not: nothing is done with the material.

    Raises:
        MasterKeyNotFound, MasterKeyUnusable: its row is not there, or could not be read.
        ImproperlyConfigured, RootKeyRefused, RootKeyUnavailable: as the root key says.
    """
    wipe(opening.opened(rows.with_version_id(version_id, usage=None)))


def check_wrap(version_id: bytes, root_key: str) -> None:
    """Have one root key open its wrap of a version, and wipe the material at once.

    Raises:
        WrappedKeyAltered: the root key has no wrap of it. Others as for `check_version`.
    """
    row = rows.with_version_id(version_id, usage=None)
    wraps = (row.wrap, *rows.further_wraps(version_id))
    found = [wrap for wrap in wraps if wrap.root_key == root_key]
    if not found:
        raise WrappedKeyAltered(f"The root key {root_key!r} does not wrap {row.state}.")
    wipe(wrapping.unwrap(root_key, found[0].wrapped_material, row.context))


def identified(row: KeyRow, further: Iterable[Wrap]) -> list[Wrap]:
    """Return the wraps of a version, each with what its root key says that it wrapped with.

    Every one is opened, and what they open is compared: `WrappedKeyAltered` says that it differs.
    """
    material, own = _opened(row.wrap, row)
    try:
        return [own, *(_compared(wrap, material, row) for wrap in further)]
    finally:
        wipe(material)


def _opened(wrap: Wrap, row: KeyRow) -> tuple[KeyBuffer, Wrap]:
    """Return what a wrap opens to, and the wrap with what its root key says of it."""
    material, wrapping_key_id = wrapping.unwrap_identified(
        wrap.root_key, wrap.wrapped_material, row.context
    )
    return material, wrap._replace(wrapping_key_id=wrapping_key_id or wrap.wrapping_key_id)


def _compared(wrap: Wrap, material: KeyBuffer, row: KeyRow) -> Wrap:
    """Return what `_opened` does of a wrap, after it opened to the same material."""
    found, known = _opened(wrap, row)
    is_same = compare_digest(found, material)
    wipe(found)
    if not is_same:
        raise WrappedKeyAltered(
            f"What the root key {wrap.root_key!r} wraps of {row.state} is other material."
        )
    return known


def rewrapped(
    row: KeyRow,
    further: Sequence[Wrap],
    root_keys: Sequence[str],
    stays: Callable[[Wrap], bool],
) -> list[Wrap]:
    """Return wraps of a version by these root keys, all of which open to its material.

    No cache is asked or filled, and the policy is not: nothing is done with the material.

    Args:
        row: the version.
        further: the wraps that it has besides.
        root_keys: by which it is to be wrapped. The first is for its row, and has opened its wrap
            when this returns, so that all others may go.
        stays: whether a wrap that is there need not be made anew.

    Raises:
        ImproperlyConfigured, RootKeyRefused, RootKeyUnavailable: as the root keys say.
        MasterKeyUnusable: this process may wrap with one of the root keys, and not unwrap.
    """
    there = {
        wrap.root_key: wrap
        for wrap in (*further, row.wrap)
        if wrap.root_key in root_keys and stays(wrap)
    }
    material, opened_by = opening.opened_by(row)
    try:
        wraps = [there.get(name) or _wrapped(name, material, row) for name in root_keys]
        if wraps[0].root_key in there and opened_by != wraps[0].root_key:
            _compared(wraps[0], material, row)
    finally:
        wipe(material)
    return wraps


def _wrapped(root_key: str, material: KeyBuffer, row: KeyRow) -> Wrap:
    made = wrapping.wrap(root_key, material, row.context)
    if not made.is_opened:
        raise MasterKeyUnusable(
            f"The root key {root_key!r} lets this process wrap and not unwrap, so that it "
            "cannot see whether what was wrapped opens. Move keys where it may do both."
        )
    return Wrap(root_key, made.material, made.wrapping_key_id)
