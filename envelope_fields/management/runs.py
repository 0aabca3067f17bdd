"""Commands that work on runs: what these may ask of a database, and how far they are."""

import os
from dataclasses import replace
from typing import Any

from django.core.management import CommandError, CommandParser

from envelope_fields import rotation
from envelope_fields.jobs import representation
from envelope_fields.jobs.tasks import work_in_processes
from envelope_fields.jobs.throttle import BATCH_SIZE, NICE_RATIO, Limits
from envelope_fields.jobs.workers.process import WORKERS_OF_A_PROCESSOR, refuse_workers
from envelope_fields.management import EnvelopeCommand, terminal
from envelope_fields.models import RotationRun
from envelope_fields.rotation.runs import resumed

_LIMITS = ("batch_size", "batch_seconds", "lock_seconds", "max_rate", "sleep", "nice_ratio")
_NICENESS = 5  # a busy machine leaves the process some time yet


class RunsCommand(EnvelopeCommand):
    """A command that works on runs. In a process of its own, it lets others go first.

    Attributes:
        limits: those that were given, as arguments of `Limits`.
        workers: how many processes work on a run.
    """

    limits: dict[str, Any]
    workers: int

    def add_limits(self, parser: CommandParser, rate: str = "rows a second") -> None:
        """Add an argument for each limit; `rate` says whose rows are counted."""
        add = parser.add_argument
        add("--batch-size", metavar="ROWS", type=int,
            help=f"rows of one transaction, {BATCH_SIZE} by default")  # fmt: skip
        add("--batch-seconds", metavar="SECONDS", type=float, help="how long one may take")
        add("--lock-seconds", metavar="SECONDS", type=float,
            help="how long to wait for rows that others have locked")  # fmt: skip
        add("--max-rate", metavar="ROWS", type=float, help=rate)
        add("--sleep", metavar="SECONDS", type=float, help="rest after each batch")
        add("--nice-ratio", metavar="RATIO", type=float,
            help=f"rest so many seconds for each second of work: {NICE_RATIO} by default in "
            "conversions, 0 elsewhere; with 0, the process keeps its priority, too")  # fmt: skip

    def add_workers_and_limits(self, parser: CommandParser) -> None:
        """Add an argument for how many processes work on a run, and those for their limits."""
        parser.add_argument("--workers", metavar="N", type=int, default=1,
            help="processes that share the work, at most "
            f"{WORKERS_OF_A_PROCESSOR} for each processor")  # fmt: skip
        self.add_limits(parser, rate="rows a second, of all workers here")

    def handle(self, **options: Any) -> None:
        is_own_process = vars(self).get("_called_from_command_line", False)
        if is_own_process and options["nice_ratio"] != 0 and hasattr(os, "nice"):
            os.nice(_NICENESS)
        self.workers = options.get("workers", 1)
        self.limits = {name: options[name] for name in _LIMITS if options[name] is not None}
        try:
            refuse_workers(self.workers)
            Limits(**self.limits)
        except ValueError as error:
            raise CommandError(f"{error}.") from error
        super().handle(**options)

    def limited(self, run: RotationRun) -> RotationRun:
        """Have a run that was killed go on within the limits that are asked for now."""
        return (
            rotation.limit(run, replace(Limits.kept(run.limits), **self.limits))
            if self.limits
            else run
        )

    def work(self, begun: RotationRun, title: str = "") -> RotationRun:
        """Work on a run until it is over, and show how far it is.

        Raises:
            CommandError: it was interrupted, and is paused.
        """
        bar = self.bar(title or representation.run_title(begun))
        try:
            with bar, terminal.ending_as_interrupts():
                done = self._worked(begun, bar.show_run_if_due)
                bar.show_run(done)
                return done
        except KeyboardInterrupt:
            pass
        raise terminal.stopped(begun)

    def work_on_index(self, begun: RotationRun) -> RotationRun:
        """Do the same with a run of a blind index, which may have been there."""
        title = f"{begun.get_kind_display()} of {representation.run_title(begun)}"
        return self.work(self.limited(begun), title)

    def bar(self, title: str) -> terminal.NoBar:
        """Return a progress bar, where a person may look at it."""
        return terminal.progress_bar(title, wanted=not self.json)

    def _worked(self, begun: RotationRun, look: terminal.Look) -> RotationRun:
        if self.workers > 1:
            return work_in_processes(resumed(begun), self.workers, look)
        return rotation.run(begun, watch=lambda _: look(begun))
