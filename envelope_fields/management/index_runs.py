"""Runs of blind indexes that a command works on, and what it says of them."""

from collections.abc import Iterator, Mapping
from typing import Any

from django.core.management import CommandError

from envelope_fields.indexing import IndexReport, runs
from envelope_fields.indexing.representation import begun_indexes, index_content, standings
from envelope_fields.jobs import representation
from envelope_fields.jobs.tasks import work_in_processes
from envelope_fields.jobs.throttle import Limits
from envelope_fields.management import terminal
from envelope_fields.management.limits import given_limits, given_workers
from envelope_fields.models import IndexState, RotationRun
from envelope_fields.rotation import limit
from envelope_fields.rotation.runs import resumed


class IndexRuns:
    """Works on runs within the limits that a command was given, and shows how far they are.

    Args:
        options: of the command.
        json: whether it prints JSON alone.
    """

    def __init__(self, options: Mapping[str, Any], *, json: bool) -> None:
        self._limits = given_limits(options)
        self._workers = given_workers(options)
        self._json = json

    def work(self, begun: RotationRun) -> RotationRun:
        """Work on a run until it is over.

        Raises:
            CommandError: it was interrupted, and is paused.
        """
        if self._limits:  # one that was killed goes on within what is asked for now
            begun = limit(begun, self._limits_of(begun))

        def work(look: terminal.Look) -> RotationRun:
            if self._workers > 1:
                return work_in_processes(resumed(begun), self._workers, look)
            return runs.run(begun, watch=lambda _: look(begun))

        title = f"{begun.get_kind_display()} of {representation.run_title(begun)}"
        return terminal.watched(begun, work, title, json=self._json)

    def _limits_of(self, begun: RotationRun) -> Limits:
        try:
            return Limits(**{**begun.limits, **self._limits})
        except ValueError as error:
            raise CommandError(f"{error}.") from error


def report_content(report: IndexReport) -> dict[str, Any]:
    """Return what was done with an index, and how far it is, as plain data."""
    row = begun_indexes().filter(label=report.label).first()
    content = {"label": report.label, "state": None}
    if row is not None:
        content = index_content(*standings([row]))
    runs_done = list(map(representation.content_with_failures, report.runs))
    return {**content, "runs": runs_done, "unseen": report.unseen}


def report_lines(report: IndexReport) -> Iterator[str]:
    """Say the same in lines."""
    yield f"{report.label}: {IndexState(report.state).label}."
    yield from map(terminal.run_as_text, report.runs)
    if report.last_run is not None:
        yield from terminal.problems(report.last_run)
    yield from (f"  not seen: {each}" for each in report.unseen)
