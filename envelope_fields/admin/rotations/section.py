"""What the page of a key shows of the runs that move its values."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest

from envelope_fields.admin import rights
from envelope_fields.admin.actors import actor_text
from envelope_fields.admin.rotations import starting
from envelope_fields.admin.rotations.addresses import url_of_run, url_of_runs
from envelope_fields.admin.rotations.telling import told
from envelope_fields.models import MasterKey
from envelope_fields.jobs.progress import progress_of
from envelope_fields.jobs.runs import all_runs

RUNS_SHOWN = 5


def section(request: HttpRequest, key: MasterKey, start_url: str) -> dict[str, Any]:
    """Return the latest runs of a key, the one that is not over, and where another is started."""
    may_see, may_start = rights.may_see_runs(request, key), rights.may_start_run(request, key)
    runs = _latest(request, key) if may_see else []
    active = next((each for each in runs if not each["is_over"]), None)
    can_start = may_start and starting.is_possible(key)
    return {
        "rotations": runs if may_see or can_start else None,
        "run": active,
        "live_url": active["live_url"] if active else "",
        "start_url": start_url if can_start else "",
        "start_text": starting.BUTTON,
        "rotations_url": url_of_runs(request, key) if runs else "",
    }


def _latest(request: HttpRequest, key: MasterKey) -> list[dict[str, Any]]:
    runs = list(all_runs().filter(keys__master_key=key)[:RUNS_SHOWN])
    return [
        {
            **told(run, progress),
            "row": run,
            "who": actor_text(run),
            "url": url_of_run(request, run),
            "live_url": url_of_run(request, run, "progress"),
        }
        for run, progress in zip(runs, progress_of(runs), strict=True)
    ]
