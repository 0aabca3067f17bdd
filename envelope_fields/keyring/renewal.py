"""Renewal: at its greatest age, a root key is asked anew for material that is in use.

Material is used on while there is no answer, or one that is not about the right to use it.
"""

from __future__ import annotations

import logging
from hmac import compare_digest

from django.core.exceptions import ImproperlyConfigured

from envelope_fields.crypto.buffers import wipe
from envelope_fields.exceptions import EnvelopeError, MasterKeyNotFound, WrappedKeyAltered
from envelope_fields.keyring import opening, rows
from envelope_fields.keyring.age import Material, moment

_logger = logging.getLogger(__name__)


def unwrapped(row: rows.KeyRow) -> Material:
    """Return what a root key opens now; its age counts from before it was asked.

    Raises:
        ImproperlyConfigured: its root key is not in the settings, or not a key.
        RootKeyRefused, RootKeyUnavailable: as the root key says.
    """
    asked_at = moment()
    opened = opening.opened(row)
    try:
        return Material.of(opened, row.root_key, asked_at)
    finally:
        wipe(opened)


def renewed(row: rows.KeyRow, material: Material) -> Material | None:
    """Return what a root key opens now in the place of material; None where that is used on.

    Raises:
        RootKeyRefused: it says no.
        MasterKeyNotFound: the version is gone, or destroyed.
    """
    try:
        return _opened_anew(row, material)
    except Exception as error:  # whatever it is, what is here may still be used
        if opening.is_refusal(error) or isinstance(error, MasterKeyNotFound):
            raise
        # Not its traceback: frames hold key buffers. Nor what others say, which may be anything.
        is_ours = isinstance(error, EnvelopeError | ImproperlyConfigured)
        _logger.warning(
            "Material of %s is used although it is %.0f s old: %s%s",
            row.state, material.asked_at.age(), type(error).__name__,
            f": {error}" if is_ours else "",
        )  # fmt: skip
        return None


def _opened_anew(row: rows.KeyRow, material: Material) -> Material:
    present = rows.read_again(row)  # another root key may wrap it now
    if present.context != row.context:
        raise WrappedKeyAltered(f"The row of {row.state} names another key, number or usage now.")
    found = unwrapped(present)
    # Zeros are what another thread leaves that evicts it, also between these two looks.
    if not compare_digest(found, material) and any(material):
        wipe(found)
        raise WrappedKeyAltered(f"What wraps {row.state} now is other material.")
    return found
