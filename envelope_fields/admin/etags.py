"""What a page showed, carried in its form: an operation is refused where that has changed since.

So of two officers who look at the same page the second one is refused, and so is a page that is
sent twice. It is to the admin what `If-Match` is to the API; a request without it is not held to
it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

from django.http import HttpRequest
from django.utils.translation import gettext as _

from envelope_fields.exceptions import EnvelopeError
from envelope_fields.jobs.runs import keys_of, runs_about
from envelope_fields.lifecycle import expecting
from envelope_fields.models import MasterKey, MasterKeyVersion, RotationRun

NAME = "shown"  # of the hidden input
_COLUMNS: dict[type, tuple[str, ...]] = {
    MasterKey: (
        "alias", "description", "state", "deletion_at", "managed_by", "application_use",
        "rotation_period", "serves_fields",
    ),
    MasterKeyVersion: ("number", "state", "deletion_at"),
    RotationRun: ("id", "state", "resumed_at", "finished_at"),
}  # fmt: skip

Row = MasterKey | MasterKeyVersion | RotationRun


class ChangedMeanwhile(EnvelopeError):
    """What a page showed is not so any more."""


def etag_of(row: Row) -> str:
    """Return what stands for the present state of a key, a version or a rotation."""
    rows: Any = type(row)._base_manager.using(row._state.db)
    now = rows.get(pk=row.pk)
    return _digest([now, now.current_version] if isinstance(now, MasterKey) else [now])


def etag_of_rotations(key: MasterKey) -> str:
    """Return what stands for a key and the last rotation of its values."""
    last = runs_about(key).first()
    return _digest([etag_of(key), last])


@contextmanager
def if_unchanged(request: HttpRequest, row: Any, etag: Callable[[], str]) -> Iterator[None]:
    """Have an operation inside done only if nothing has changed since the page was made.

    Args:
        request: sends the form of the page.
        row: a key, or a row with a `master_key_id`.
        etag: returns what stands for the present state of what the page showed.

    Raises:
        ChangedMeanwhile: from the operation, under its lock, which then does nothing.
    """
    given = request.POST.get(NAME)
    if not given:
        yield
        return
    unchecked = {_key_id(row)}

    def check(key: MasterKey) -> None:
        if key.pk in unchecked:  # once: the operation itself changes it
            unchecked.clear()
            if etag() != given:
                raise ChangedMeanwhile(
                    _("It has changed since this page was shown, so nothing was done. Look again.")
                )

    with expecting(check):
        yield


def _key_id(row: Any) -> Any:
    """Return the id of the key whose row the operation locks."""
    if isinstance(row, RotationRun):
        return keys_of(row)[0].pk
    return row.pk if isinstance(row, MasterKey) else row.master_key_id


def _digest(rows: list[Any]) -> str:
    text = json.dumps([_state_of(row) for row in rows], default=str)
    return sha256(text.encode()).hexdigest()[:32]


def _state_of(row: Any) -> Any:
    names = _COLUMNS.get(type(row))
    return row if names is None else [getattr(row, name) for name in names]
