"""Confirmations by name, of what no census can see."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from envelope_fields.exceptions import EnvelopeError
from envelope_fields.lifecycle.representation import Row as Row
from envelope_fields.lifecycle.representation import as_utc as as_utc
from envelope_fields.lifecycle.representation import named
from envelope_fields.models import MasterKeyVersion


class ConfirmationRequired(EnvelopeError):
    """An act that may destroy more than the census counts, and was not confirmed by name.

    Attributes:
        expected: what to pass as `confirm=`: `alias@2026-11-28T02:13:05Z`, the name of the key and
            when it was last used; the name alone where it was never used, and for shredding. A key
            without an alias has its id for a name.
        last_use: when `kms` last used the key or version, to the second; None if it never did.
    """

    def __init__(self, message: str, expected: str, last_use: Any = None) -> None:
        super().__init__(message)
        self.expected = expected
        self.last_use = last_use


def name_of(row: Row) -> str:
    """Return the name by which an act on a key, or on a version of it, is confirmed."""
    return str(row.master_key if isinstance(row, MasterKeyVersion) else row)


def quoting(row: Row, last_use: datetime | None) -> str:
    """Return what confirms an act: the name of the key, and its last use where there was one."""
    return name_of(row) if last_use is None else f"{name_of(row)}@{as_utc(last_use)}"


def check_name(confirm: str | None, row: Row) -> None:
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


def check_quoted(
    confirm: str | None, row: Row, expected: str, reasons: Iterable[str], last_use: Any
) -> None:
    """Raise if a confirmation is for something else, or there are reasons for one and it lacks.

    Args:
        confirm: what was passed. The name alone confirms where there is no reason.
        row: the key or version.
        expected: what confirms it.
        reasons: what is lost, or may be, that was not counted; in sentences.
        last_use: when `kms` last used it.

    Raises:
        ConfirmationRequired: with these sentences, and what to pass.
    """
    if confirm == expected:
        return
    if confirm not in (None, name_of(row)):
        raise ConfirmationRequired(
            f"{confirm!r} does not confirm this: {named(row)} is confirmed by {expected!r}, which "
            "quotes its last use.",
            expected,
            last_use,
        )
    said = " ".join(reasons)
    if said:
        raise ConfirmationRequired(
            f"{said} To go on, pass confirm={expected!r}.", expected, last_use
        )
