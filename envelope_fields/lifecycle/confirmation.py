"""Confirmations by name, of what no census can see."""

from __future__ import annotations

from typing import Any

from envelope_fields.exceptions import EnvelopeError
from envelope_fields.lifecycle.transitions import named
from envelope_fields.models import MasterKey, MasterKeyVersion


class ConfirmationRequired(EnvelopeError):
    """An act that may destroy more than the census counts, and was not confirmed by name.

    Attributes:
        expected: what to pass as `confirm=`: the key's alias, or its id where it has none.
        last_use: when `kms` last used the key or version; None if it never did.
    """

    def __init__(self, message: str, expected: str, last_use: Any = None) -> None:
        super().__init__(message)
        self.expected = expected
        self.last_use = last_use


def name_of(row: MasterKey | MasterKeyVersion) -> str:
    """Return the name by which an act on a key, or on a version of it, is confirmed."""
    return str(row.master_key if isinstance(row, MasterKeyVersion) else row)


def check_name(confirm: str | None, row: MasterKey | MasterKeyVersion) -> None:
    """Raise if a confirmation names another key.

    Raises:
        ConfirmationRequired: it does.
    """
    expected = name_of(row)
    if confirm is not None and confirm != expected:
        raise ConfirmationRequired(
            f"{confirm!r} does not confirm this: {named(row)} is confirmed by {expected!r}.",
            expected,
        )


def check_kms_use(confirm: str | None, row: MasterKey | MasterKeyVersion, last_use: Any) -> None:
    """Raise if kms gave out data under a key, and nobody says that this is known.

    Raises:
        ConfirmationRequired: with the last use, and what to pass.
    """
    check_name(confirm, row)
    if last_use is not None and confirm is None:
        expected = name_of(row)
        raise ConfirmationRequired(
            f"envelope_fields.kms gave out data under {named(row)}, which the census cannot see: "
            f"last used by it on {last_use:%Y-%m-%d}. Nothing of it can be decrypted while the "
            f"deletion is pending, nor ever after. To go on, pass confirm={expected!r}.",
            expected,
            last_use,
        )
