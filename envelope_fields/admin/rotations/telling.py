"""What pages say of a run, and the script on them: each text is made here, once, and translated."""

from __future__ import annotations

from typing import Any

from django.utils import timezone
from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from envelope_fields.admin.rotations.durations import duration_text
from envelope_fields.models import RotationFailure, RotationRun, RotationState
from envelope_fields.jobs.runs import run_title
from envelope_fields.rotation import FieldProgress, Limits, Progress, failures

FAILURES_SHOWN = 50
_QUIET_SECONDS = 60  # longer than a batch takes, and a process to begin
_NOTHING = "–"


def told(run: RotationRun, progress: Progress) -> dict[str, Any]:
    """Return how far a run is: for a template, and as JSON for the script."""
    done = progress.total - progress.remaining
    return {
        "state": str(run.state),
        "is_over": not run.is_active,
        "bar": _bar(run, progress, done),
        "texts": {
            "state": str(run.get_state_display()),
            "done": done_text(run, progress),
            "moved": _number(progress.moved),
            "skipped": _number(progress.skipped),
            "failed": _number(progress.failed),
            "rate": _rate(progress.rate),
            "left": _time_left(progress),
            "note": _note(run),
            "announcement": _announcement(run, progress, done),
        },
    }


def told_in_full(run: RotationRun, progress: Progress) -> dict[str, Any]:
    """Return the same, with a row for each field and for the first of what failed."""
    found = failures(run)[:FAILURES_SHOWN] if progress.failed else []
    rows = {
        "fields": [_field(field) for field in progress.fields],
        "failures": [_failure(failure) for failure in found],
    }
    return {**told(run, progress), "rows": rows}


def run_text(run: RotationRun) -> str:
    """Name a run for people."""
    return _("%(kind)s of %(key)s") % {"kind": run.get_kind_display(), "key": run_title(run)}


def done_text(run: RotationRun, progress: Progress) -> str:
    """Say how many values had their turn."""
    if not progress.total:
        return _("not counted yet") if run.is_active else _("none")
    text = ngettext("%(done)s of %(total)s value", "%(done)s of %(total)s values", progress.total)
    return text % {
        "done": _number(progress.total - progress.remaining),
        "total": _number(progress.total),
    }


def is_quiet(run: RotationRun) -> bool:
    """Whether a run should be worked on, and nobody has been seen to: they may have ended."""
    if run.state not in (RotationState.PENDING, RotationState.RUNNING):
        return False
    return _silence(run) > _QUIET_SECONDS + _rest(run)


def _silence(run: RotationRun) -> float:
    """Return how many seconds ago somebody was last seen to do something about it."""
    seen = max(filter(None, (run.created_at, run.resumed_at, run.heartbeat_at)))
    return (timezone.now() - seen).total_seconds()


def _rest(run: RotationRun) -> float:
    """Return how long a worker rests between batches."""
    limits = Limits(**run.limits)
    return max(limits.sleep, limits.batch_size / limits.max_rate if limits.max_rate else 0)


def _bar(run: RotationRun, progress: Progress, done: int) -> dict[str, int] | None:
    """Return the value and the end of the bar; None while nobody knows them."""
    if progress.total:
        return {"value": done, "max": progress.total}
    return (
        {"value": int(run.state == RotationState.COMPLETED), "max": 1} if run.finished_at else None
    )


def _rate(rate: float) -> str:
    if not rate:
        return _NOTHING
    values = max(round(rate), 1)
    text = ngettext("%(values)s value a second", "%(values)s values a second", values)
    return text % {"values": _number(values)}


def _time_left(progress: Progress) -> str:
    if progress.time_remaining is None:
        return _NOTHING
    return _("about %(time)s") % {"time": duration_text(progress.time_remaining.total_seconds())}


def _note(run: RotationRun) -> str:
    if run.error:
        return run.error
    if is_quiet(run):
        return _(
            "Nobody has been seen working on it for %(time)s. If its worker has ended, resume it, "
            "or run: python manage.py rewrap --run %(id)s"
        ) % {"time": duration_text(_silence(run)), "id": run.pk}
    if run.state == RotationState.PENDING:
        return _("It begins as soon as a worker takes it.")
    return ""


def _announcement(run: RotationRun, progress: Progress, done: int) -> str:
    """Return what a screen reader is told: the state, and every tenth of the way."""
    if not run.is_active or not progress.total:
        return str(run.get_state_display())
    tenths = 10 * done // progress.total
    return _("%(state)s, %(percent)d percent") % {
        "state": run.get_state_display(),
        "percent": 10 * tenths,
    }


def _field(field: FieldProgress) -> list[str]:
    numbers = (field.total, field.moved, field.skipped, field.failed, field.remaining)
    return [field.field, _database(field.database, field.schema), *map(_number, numbers)]


def _failure(failure: RotationFailure) -> list[str]:
    column = failure.range.column
    return [
        str(column),
        _database(column.database, column.named_schema),
        failure.row,
        failure.version_id,
        failure.cause,
        failure.message,
    ]


def _database(alias: str, schema: str | None) -> str:
    return f"{alias}, {schema}" if schema else alias


def _number(number: int) -> str:
    return number_format(number, force_grouping=True)
