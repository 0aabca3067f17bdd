"""Blind indexes that lookups are to ask once a column is encrypted, and that are not ready."""

from datetime import datetime
from typing import Any

from django.utils import timezone

from envelope_fields.conversion.moves import runs_of_field
from envelope_fields.conversion.phases import ConversionRefused
from envelope_fields.indexing.runs import last_verification, wrong_rows
from envelope_fields.jobs.representation import progress_of
from envelope_fields.lifecycle.index_states import begun_index
from envelope_fields.models import IndexState, RotationKind


def refuse_unread_indexes(field: Any) -> None:
    """Return if lookups ask each index of a field.

    Raises:
        ConversionRefused: one is not reading.
    """
    for index in field.indexes:
        row = begun_index(index.field_path)
        if row is None or row.state != IndexState.READING:
            state = "not begun" if row is None else row.state
            raise ConversionRefused(
                f"{field}: lookups are to ask {index}, which is {state}. Run `python "
                f"manage.py rebuild_indexes {index.field_path} --to reading` first."
            )


def refuse_incomplete_indexes(field: Any) -> None:
    """Return if lookups find every row by each index of a field, which is read.

    Raises:
        ConversionRefused: rows were filled since one became reading, and it was not verified: these
            rows may be in no index.
    """
    written_at = _last_written(field) if field.indexes else None
    for index in field.indexes:
        row = begun_index(index.field_path)
        if written_at is None or row is None or row.state_changed_at >= written_at:
            continue
        found = last_verification(index, since=written_at)
        if found is None or wrong_rows(found):
            raise ConversionRefused(
                f"{field}: rows were filled since {index} became reading, and may not be in it. "
                "Rebuild and verify it: `python manage.py rebuild_indexes "
                f"{index.field_path} --to reading` does both."
            )


def _last_written(field: Any) -> datetime | None:
    """Return when a run has last written rows of a field."""
    runs = list(runs_of_field(field))
    ends = [
        run.finished_at or timezone.now()
        for run, found in zip(runs, progress_of(runs), strict=True)
        if found.moved and run.kind != RotationKind.EMPTY
    ]
    return max(ends, default=None)
