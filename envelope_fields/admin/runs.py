"""Runs of rotations: how far one is, for pages and their script."""

from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext as _, ngettext

from envelope_fields import databases, rotation
from envelope_fields.admin import requests
from envelope_fields.admin.counts import duration_text, number_text
from envelope_fields.audit.events import actor_text
from envelope_fields.jobs.representation import failure_content, progress_of, run_title
from envelope_fields.models import RotationFailure, RotationKind, RotationRun, RotationState
from envelope_fields.rotation import FieldProgress, Limits, Progress

RUNS_SHOWN = 5  # beside what they are about
FAILURES_SHOWN = 50
_QUIET_SECONDS = 60  # longer than a batch takes, and a process to begin
_NOTHING = "–"


def representation(run: RotationRun, progress: Progress) -> dict[str, Any]:
    """Return how far a run is: for a template, and as JSON for the script."""
    done = progress.total - progress.remaining
    return {
        "state": str(run.state),
        "is_over": not run.is_active,
        "bar": _bar(run, progress, done),
        "words": words_for(run.kind),
        "texts": {
            "state": str(run.get_state_display()),
            "done": done_text(run, progress),
            "moved": number_text(_moved(run, progress)),
            "skipped": number_text(progress.skipped),
            "failed": number_text(progress.failed),
            "rate": _rate(progress.rate),
            "remaining": _remaining(progress),
            "note": _note(run),
            "announcement": _announcement(run, progress, done),
        },
    }


def full_representation(run: RotationRun, progress: Progress) -> dict[str, Any]:
    """Return the same, with a row for each field and for the first of what failed."""
    found = rotation.failures(run)[:FAILURES_SHOWN] if progress.failed else []
    rows = {
        "fields": [_field(run, field) for field in progress.fields],
        "failures": [_failure(failure) for failure in found],
    }
    return {**representation(run, progress), "rows": rows}


def latest_context(request: HttpRequest, about: QuerySet[RotationRun] | None) -> dict[str, Any]:
    """Return what `latest.html` and `live.html` show of runs, the newest first.

    Args:
        request: of the page.
        about: the runs; None where the user may not see them.
    """
    latest = [] if about is None else list(about[:RUNS_SHOWN])
    shown = [
        {
            **representation(run, progress),
            "row": run,
            "who": actor_text(run),
            "url": url_of_run(request, run),
            "live_url": url_of_run(request, run, "progress"),
        }
        for run, progress in zip(latest, progress_of(latest), strict=True)
    ]
    active = next((each for each in shown if not each["is_over"]), None)
    return {
        "rotations": shown,
        "run": active,
        "live_url": active["live_url"] if active else "",
        "runs_title": _("Runs"),
        "no_rotations": "" if about is None else _("No run has gone over its rows yet."),
    }


def words_for(kind: str) -> dict[str, str]:
    """Return what a page calls what a run of a kind does: to its rows, and with those that fail."""
    if kind == RotationKind.VERIFY_INDEX:
        return {"moved": _("Right"), "bar": _("Rows compared"), "failed": _("Found wrong")}
    if kind == RotationKind.REBUILD_INDEX:
        bar, failed = _("Rows looked at"), _("Could not be written")
        return {"moved": _("Written"), "bar": bar, "failed": failed}
    return {"moved": _("Moved"), "bar": _("Values moved"), "failed": _("Could not be moved")}


def _moved(run: RotationRun, progress: Progress | FieldProgress) -> int:
    """Return how many rows are as the run was to have them; a verification writes none."""
    if run.kind != RotationKind.VERIFY_INDEX:
        return progress.moved
    return progress.total - progress.remaining - progress.skipped - progress.failed


def run_text(run: RotationRun) -> str:
    """Name a run for people."""
    return _("%(kind)s of %(key)s") % {"kind": run.get_kind_display(), "key": run_title(run)}


def done_text(run: RotationRun, progress: Progress) -> str:
    """Say how many values had their turn."""
    if not progress.total:
        return _("not counted yet") if run.is_active else _("none")
    text = ngettext("%(done)s of %(total)s value", "%(done)s of %(total)s values", progress.total)
    return text % {
        "done": number_text(progress.total - progress.remaining),
        "total": number_text(progress.total),
    }


def limits_text(run: RotationRun) -> str:
    """Say how fast a run may go."""
    limits = Limits.kept(run.limits)
    rate, nice_ratio = limits.max_rate, limits.nice_ratio
    texts = []
    if rate:
        texts.append(_("at most %(rate)s") % {"rate": _rate(rate)})
    if nice_ratio:
        ratio = number_text(nice_ratio)
        texts.append(_("rests for %(ratio)s times as long as it works") % {"ratio": ratio})
    return ", ".join(texts) or _("as fast as it can")


def is_quiet(run: RotationRun) -> bool:
    """Whether a run should be worked on and no worker has been seen to: it may have ended."""
    if run.state not in (RotationState.PENDING, RotationState.RUNNING):
        return False
    return _silence(run) > _QUIET_SECONDS + _rest(run)


def url_of_run(request: HttpRequest, run: RotationRun, name: str = "change", *args: str) -> str:
    """Return the address of a page about a run; empty where there is none, or not for the user."""
    seen = requests.may_view_runs(request)
    return requests.page_url(request, f"rotationrun_{name}", run.pk, *args) if seen else ""


def _silence(run: RotationRun) -> float:
    """Return how many seconds ago it was started, resumed or worked on."""
    seen = max(filter(None, (run.created_at, run.resumed_at, run.heartbeat_at)))
    return (databases.now() - seen).total_seconds()


def _rest(run: RotationRun) -> float:
    """Return how long a worker waits between batches."""
    limits = Limits.kept(run.limits)
    of_rate = limits.batch_size / limits.max_rate if limits.max_rate else 0
    return max(limits.sleep, of_rate, limits.batch_seconds * (limits.nice_ratio or 0))


def _bar(run: RotationRun, progress: Progress, done: int) -> dict[str, int] | None:
    """Return the value and the end of the bar; None while they are not known."""
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
    return text % {"values": number_text(values)}


def _remaining(progress: Progress) -> str:
    if progress.time_remaining is None:
        return _NOTHING
    return _("about %(time)s") % {"time": duration_text(progress.time_remaining.total_seconds())}


def _note(run: RotationRun) -> str:
    if run.error:
        return run.error
    if is_quiet(run):
        return _(
            "No worker has been seen on it for %(time)s. If it has ended, resume the run, "
            "or run: python manage.py rewrap --run %(id)s"
        ) % {"time": duration_text(_silence(run)), "id": run.pk}
    if run.state == RotationState.PENDING:
        return _("It begins as soon as a worker takes it.")
    return ""


def _announcement(run: RotationRun, progress: Progress, done: int) -> str:
    """Return what a screen reader reads: the state, and every tenth of the way."""
    if not run.is_active or not progress.total:
        return str(run.get_state_display())
    tenths = 10 * done // progress.total
    return _("%(state)s, %(percent)d percent") % {
        "state": run.get_state_display(),
        "percent": 10 * tenths,
    }


def _field(run: RotationRun, field: FieldProgress) -> list[str]:
    moved = _moved(run, field)
    numbers = (field.total, moved, field.skipped, field.failed, field.remaining)
    return [field.field, _database(field.database, field.schema), *map(number_text, numbers)]


def _failure(failure: RotationFailure) -> list[str]:
    content = failure_content(failure)
    where = _database(content["database"], content["schema"])
    names = ("row", "version_id", "cause", "message")
    return [content["field"], where, *(content[name] for name in names)]


def _database(alias: str, schema: str | None) -> str:
    return f"{alias}, {schema}" if schema else alias
