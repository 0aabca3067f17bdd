"""`manage.py rotation_runs`: lists runs, and pauses, resumes or cancels one."""

from datetime import timedelta
from typing import Any

from django.core.management import CommandParser

from envelope_fields import databases, rotation
from envelope_fields.jobs.representation import Progress, progress_of, run_contents, run_title
from envelope_fields.jobs.runs import active_runs, all_runs
from envelope_fields.management import EnvelopeCommand, run_id
from envelope_fields.management.terminal import duration
from envelope_fields.models import RotationRun, RotationState

_SILENT = timedelta(minutes=2)  # a batch takes seconds
_ACTS = {"pause": rotation.pause, "resume": rotation.resume, "cancel": rotation.cancel}


class Command(EnvelopeCommand):
    help = (
        "List the rotations that are not over, or pause, resume or cancel one. A worker stops "
        "after the batch that is under way. `rewrap --run ID` works on one."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        acts = parser.add_mutually_exclusive_group()
        for act in _ACTS:
            acts.add_argument(f"--{act}", metavar="ID", help=f"{act} this run")
        parser.add_argument("--all", action="store_true", help="list those that are over, too")
        super().add_arguments(parser)

    def perform(self, *, all: bool = False, **options: Any) -> None:
        chosen = [
            act_on(run_id(options[act])) for act, act_on in _ACTS.items() if options[act]
        ] or list(all_runs() if all else active_runs())
        lines = [] if self.json else map(_line, chosen, progress_of(chosen))
        text = "\n".join(lines) or "No rotation is under way."
        self.say(lambda: run_contents(chosen), text)


def _line(run: RotationRun, found: Progress) -> str:
    line = (
        f"{run.pk}  {run_title(run)}  {run.kind}  {run.state}  "
        f"{found.total - found.remaining:,} of {found.total:,}"
    )
    if found.failed:
        line += f", {found.failed:,} failed"
    if found.time_remaining is not None:
        line += f", {duration(found.time_remaining.total_seconds())} left"
    if run.state == RotationState.RUNNING and _is_silent(run):
        line += f", no process at it since {run.heartbeat_at:%Y-%m-%d %H:%M:%S %Z}".rstrip()
    return line


def _is_silent(run: RotationRun) -> bool:
    return run.heartbeat_at is not None and databases.now() - run.heartbeat_at > _SILENT
