"""Terminals: output that fails, what is said of runs, a progress bar, and signals that pause."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from io import StringIO
from time import monotonic
from typing import Any, Self

from django.core.management import BaseCommand, CommandError
from django.core.management.base import OutputWrapper
from django.db import connections

from envelope_fields.conversion.representation import numbers_text
from envelope_fields.exceptions import quantity
from envelope_fields.jobs import representation
from envelope_fields.models import MasterKey, RotationFailure, RotationRun, RotationState
from envelope_fields.rotation import Forecast, failures, find_run, pause, progress
from envelope_fields.rotation.scope import PlainValues, UnknownValues

Look = Callable[[RotationRun], None]

SECONDS_BETWEEN_LOOKS = 0.25
_LISTED = 20  # failures, of those that are stored
_WORDS = {
    "rewrap": "rewrapped",
    "re_encrypt": "re-encrypted",
    "convert": "converted",
    "fill": "filled",
    "compare": "filled again",
    "empty": "emptied",
    "rebuild_index": "indexed",
}


class Output(OutputWrapper):
    """Standard output that ends a command in a sentence where it cannot be written."""

    def write(self, *args: Any, **options: Any) -> None:  # type: ignore[override]  # as it is given
        with written():
            super().write(*args, **options)

    def flush(self) -> None:
        with written():
            super().flush()


def take_any_output(command: BaseCommand) -> None:
    """Have what is done not fail by its report: where that is closed, or of few characters."""
    out: Any = vars(command.stdout)["_out"]
    command.stdout = Output(StringIO() if out is None else out)  # None is closed, as by `>&-`
    if vars(command.stderr)["_out"] is None:
        command.stderr = OutputWrapper(StringIO())
    if vars(command).get("_called_from_command_line") and hasattr(out, "reconfigure"):
        out.reconfigure(errors="backslashreplace")  # as Python has it for stderr


@contextmanager
def written() -> Iterator[None]:
    """Write inside.

    Raises:
        CommandError: it cannot be written; what the command does may be done by then.
    """
    try:
        yield
    except OSError as error:
        _discard_output()
        why = f"The output cannot be written: {error.strerror}."
        if isinstance(error, BrokenPipeError):
            why = "What reads the output has ended, as `head` does, and so has this command."
        raise CommandError(
            f"{why} What it was to do may be done, or done in part: see what is before you run it "
            "again."
        ) from None


def _discard_output() -> None:
    """Have nothing fail that is still to be written when the process ends."""
    with suppress(AttributeError, OSError):  # it is not the process's own
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class NoBar:
    """Without a terminal."""

    @property
    def is_due(self) -> bool:
        """Whether to show something now; to know how far something is may take queries."""
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the terminal alone."""

    def show(self, done: int, total: int) -> None:
        """Show that so many of so many values are done."""

    def show_run(self, run: RotationRun) -> None:
        """Show how far a run is."""
        found = progress(run)
        self.show(found.total - found.remaining, found.total)

    def show_run_if_due(self, run: RotationRun) -> None:
        """Show that, if it is time."""
        if self.is_due:
            self.show_run(run)


class Bar(NoBar):
    """A bar on standard error, with the rate and the time that remains."""

    def __init__(self, title: str, tqdm: Any) -> None:
        tqdm.monitor_interval = 0  # no thread of its own, which would have to be forked
        self._bar = tqdm(desc=title, unit=" values", unit_scale=True, total=0)
        self._next = monotonic()

    @property
    def is_due(self) -> bool:
        return monotonic() >= self._next

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def show(self, done: int, total: int) -> None:
        self._bar.total = total
        self._bar.n = done
        self._bar.refresh()
        self._next = monotonic() + SECONDS_BETWEEN_LOOKS


def progress_bar(title: str, *, wanted: bool) -> NoBar:
    """Return a bar where there is a terminal and tqdm (extra `progress`), else a null object."""
    if not wanted or not sys.stderr.isatty():
        return NoBar()
    try:
        from tqdm import tqdm
    except ImportError:
        return NoBar()
    return Bar(title, tqdm)


@contextmanager
def ending_as_interrupts() -> Iterator[None]:
    """Have a SIGTERM raise KeyboardInterrupt, as a SIGINT does."""
    before = signal.getsignal(signal.SIGTERM)
    in_main_thread = threading.current_thread() is threading.main_thread()
    if in_main_thread:
        signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        if in_main_thread:
            signal.signal(signal.SIGTERM, before)


def stopped(begun: RotationRun) -> CommandError:
    """Pause a run that was interrupted, and return the error that says so.

    To be called when the KeyboardInterrupt is over: its traceback holds what was in the middle of
    a query, and SQLite lets no connection commit until that is gone.
    """
    connections.close_all()
    now = find_run(begun)
    paused = pause(now) if now.state == RotationState.RUNNING else now
    return CommandError(
        f"Stopped; the run {paused.pk} is paused. Run the same command again to go on."
    )


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


# -- Words -----------------------------------------------------------------------------------------


def move_line(content: Mapping[str, Any]) -> str:
    """Return how far a column in clear is, in a line, of its `move_content`."""
    return f"{content['field']}: {content['phase']}. {numbers_text(content)}."


def forecasts_as_text(found: Mapping[MasterKey, Sequence[Forecast]], workers: int) -> str:
    """Return what would be done."""
    lines = [
        f"{key}: {quantity(each.values, 'value')} of {each.field} in "
        f"{in_schema(each.schema)}{each.database!r}, "
        f"about {duration(each.seconds / workers)}"
        for key, forecasts in found.items()
        for each in forecasts
    ]
    if not lines:
        return "Nothing to do: every value is under the current version of its key."
    return "\n".join([*lines, "Nothing was changed."])


def plain_as_text(found: Iterable[PlainValues]) -> list[str]:
    """Return a line for each field that holds values that no run moves, and why."""
    return [
        f"{each.field} in {in_schema(each.schema)}{each.database!r}: "
        f"{quantity(each.values, 'value')}, {each.cause}: {_why_not_moved(each)} "
        "None was moved, and none can be read."
        for each in found
    ]


def _why_not_moved(found: PlainValues) -> str:
    if isinstance(found, UnknownValues):
        return "restore its row from a backup of the keys before the key is rotated again."
    return "stored before the field was encrypted, or damaged."


def run_as_text(done: RotationRun) -> str:
    """Return what became of a run; where it was about several keys, with a line for each."""
    is_about_keys = done.master_key is None and not done.is_about_field
    by_key = representation.key_contents(done) if is_about_keys else []
    stayed = "failed" if done.state == RotationState.COMPLETED else "left"
    lines = [
        f"{key['alias'] or key['id']}: {quantity(key['total'] - key['remaining'], 'value')} "
        f"{_WORDS[done.kind]}, {key['remaining']:,} {stayed}."
        for key in by_key
    ]
    numbers = progress(done)
    what = (
        f"{quantity(numbers.moved, 'value')} {_WORDS[done.kind]}"
        if done.kind in _WORDS
        else f"{quantity(numbers.total - numbers.remaining, 'row')} compared"
    )
    text = (
        f"{representation.run_title(done)}: {what}, {numbers.failed:,} failed. "
        f"Run {done.pk}: {done.state}."
    )
    if numbers.rate:
        text += f" {quantity(round(numbers.rate), 'value')} a second."
    return "\n".join([*lines, text])


def unusable(key: MasterKey) -> str:
    """Return why the values under a key were not moved with those under others."""
    state = key.state.replace("_", " ")
    return f"The values under {key} were not moved: it is {state}. Enable the key."


def problems(done: RotationRun) -> list[str]:
    """Return a line for everything that is not as it should be after a run."""
    lines = [
        f"{failure.range.column} {failure.row}{_with_schema(failure)}: {failure.cause}: "
        f"{failure.message}"
        for failure in failures(done)[:_LISTED]
    ]
    more = progress(done).failed - len(lines)
    if more > 0:
        lines.append(f"and {more:,} more under {representation.run_title(done)}")
    if done.state != RotationState.COMPLETED:
        lines.append(f"The run {done.pk} is {done.state}. {done.error}".rstrip())
    return lines


def in_schema(schema: str | None) -> str:
    """Name a schema before its database, where it has to be named."""
    return "" if schema is None else f"the schema {schema!r} of "


def _with_schema(failure: RotationFailure) -> str:
    schema = failure.range.column.named_schema
    return "" if schema is None else f" in the schema {schema!r}"


def duration(seconds: float) -> str:
    """Return a time for people to read."""
    return "a second" if seconds < 1 else str(timedelta(seconds=round(seconds)))
