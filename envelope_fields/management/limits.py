"""Commands that work on runs, and their arguments that say what these may ask of a database."""

import os
from collections.abc import Mapping
from typing import Any

from django.core.management import CommandError, CommandParser

from envelope_fields.jobs.throttle import BATCH_SIZE, NICE_RATIO
from envelope_fields.management import EnvelopeCommand

_NAMES = ("batch_size", "batch_seconds", "lock_seconds", "max_rate", "sleep", "nice_ratio")
_NICENESS = 5  # a busy machine leaves the process some time yet


class LimitedCommand(EnvelopeCommand):
    """A command that works on runs. In a process of its own, it lets others go first."""

    def handle(self, **options: Any) -> None:
        is_own_process = vars(self).get("_called_from_command_line", False)
        if is_own_process and options["nice_ratio"] != 0:
            _lower_priority()
        super().handle(**options)


def _lower_priority() -> None:
    """Have other processes of this machine go first."""
    if hasattr(os, "nice"):
        os.nice(_NICENESS)


def add_limits(parser: CommandParser, rate: str = "rows a second") -> None:
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


def given_limits(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return those that were given, as arguments of `Limits`."""
    return {name: options[name] for name in _NAMES if options[name] is not None}


def add_workers(parser: CommandParser) -> None:
    """Add an argument for how many processes work on a run."""
    parser.add_argument("--workers", metavar="N", type=int, default=1,
        help="processes that share the work")  # fmt: skip


def given_workers(options: Mapping[str, Any]) -> int:
    """Return how many processes are to work on a run.

    Raises:
        CommandError: less than one.
    """
    workers: int = options["workers"]
    if workers < 1:
        raise CommandError("--workers must be at least 1.")
    return workers
