"""The arguments of commands that say what a run may ask of a database."""

from collections.abc import Mapping
from typing import Any

from django.core.management import CommandParser

from envelope_fields.jobs.job import BATCH_SIZE

_NAMES = ("batch_size", "batch_seconds", "lock_seconds", "max_rate", "sleep")


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


def given_limits(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return those that were given, as arguments of `Limits`."""
    return {name: options[name] for name in _NAMES if options[name] is not None}
