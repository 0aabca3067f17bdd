"""Which wrap opens a key version that is needed: any of them.

The one in the row of the version is asked first, and what its root key says counts. Further ones
open where that does not answer, cannot be asked, or does not open what is stored. Where it refuses,
they are not asked: taking a right away has to have an effect. Where the settings have it no more,
the next of them is the first.
"""

import logging
from collections.abc import Iterator
from contextlib import suppress

from django.core.exceptions import ImproperlyConfigured

from envelope_fields.conf import configuration
from envelope_fields.crypto.buffers import KeyBuffer
from envelope_fields.exceptions import EnvelopeError, RootKeyRefused, WrappedKeyAltered
from envelope_fields.keyring import rows, wrapping
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
