"""Which wrap opens a key version that is needed: any of them.

The one in the row of the version is asked first, and what its root key says counts. Further ones
open where that does not answer, cannot be asked, or does not open what is stored. Where it refuses,
they are not asked: taking a right away has to have an effect. Where the settings have it no more,
the next of them is the first.

At its greatest age, material that is in use is renewed, which is opened anew. It is used on while
there is no answer, or one that is not about the right to use it.
"""

import logging
from collections.abc import Iterator
from contextlib import suppress
from hmac import compare_digest

from django.core.exceptions import ImproperlyConfigured

from envelope_fields.conf import configuration
from envelope_fields.crypto.buffers import KeyBuffer, wipe
from envelope_fields.exceptions import (
    EnvelopeError,
    MasterKeyNotFound,
    RootKeyRefused,
    WrappedKeyAltered,
)
from envelope_fields.keyring import rows, wrapping
from envelope_fields.keyring.age import Material, moment
from envelope_fields.keyring.further_wraps import further_wraps
from envelope_fields.keyring.rows import KeyRow, Wrap

_logger = logging.getLogger(__name__)


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
    """Return what a root key opens now; its age counts from before it was asked.

    Raises:
        ImproperlyConfigured: its root key is not in the settings, or not a key.
        RootKeyRefused, RootKeyUnavailable: as the root key says.
    """
    asked_at = moment()
    buffer = opened(row)
    try:
        return Material.of(buffer, row.root_key, asked_at)
    finally:
        wipe(buffer)


def renewed(row: KeyRow, material: Material) -> Material | None:
    """Return what a root key opens now in the place of material; None where that is used on.

    Raises:
        RootKeyRefused: it says no.
        MasterKeyNotFound: the version is gone, or destroyed.
    """
    try:
        return _opened_anew(row, material)
    except Exception as error:  # whatever it is, what is here may still be used
        if is_refusal(error) or isinstance(error, MasterKeyNotFound):
            raise
        # Not its traceback: frames hold key buffers. Nor what others say, which may be anything.
        is_ours = isinstance(error, EnvelopeError | ImproperlyConfigured)
        _logger.warning(
            "Material of %s is used although it is %.0f s old: %s%s",
            row.state, material.asked_at.age(), type(error).__name__,
            f": {error}" if is_ours else "",
        )  # fmt: skip
        return None


def _opened_anew(row: KeyRow, material: Material) -> Material:
    present = rows.read_again(row)  # another root key may wrap it now
    if present.context != row.context:
        raise WrappedKeyAltered(f"The row of {row.state} names another key, number or usage now.")
    found = unwrapped(present)
    # Zeros are what another thread leaves that evicts it, also between these two looks.
    if not compare_digest(found, material) and any(material):
        wipe(found)
        raise WrappedKeyAltered(f"What wraps {row.state} now is other material.")
    return found


def _moved(row: KeyRow) -> KeyRow | None:
    """Return a row as it is now, where another root key wraps it since."""
    with suppress(Exception):  # what the root key said is more important
        present = rows.read_again(row)
        if present.context == row.context and present.wrapped_material != row.wrapped_material:
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
                failures[wrap.root_key] = error
                decisive = wrap.root_key if counts else decisive
            else:
                _log(row, wrap.root_key, failures)
                return material, wrap.root_key
        raise failures[decisive]
    finally:
        failures.clear()  # and the frames that they refer to


def _in_order(row: KeyRow) -> Iterator[tuple[Wrap, bool]]:
    """Go through the wraps as they are to be asked, and whether what a root key says counts.

    Further ones are looked up where they are needed.
    """
    own_is_there = row.root_key in configuration().root_keys
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
        return [w for w in further_wraps(row.state.version_id) if w.root_key in there]
    return []


def _log(row: KeyRow, root_key: str, failures: dict[str, Exception]) -> None:
    for name, error in failures.items():
        # Not its traceback: frames hold key buffers.
        _logger.warning(
            "The root key %r opened %s, since %r did not: %s: %s",
            root_key, row.state, name, type(error).__name__, error,
        )  # fmt: skip
