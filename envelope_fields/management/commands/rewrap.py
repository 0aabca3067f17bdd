"""`manage.py rewrap`: moves stored values to the current versions of their keys."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from django.core.management import BaseCommand, CommandError, CommandParser
from django.db import connections

from envelope_fields.management.commands import _rewrap_text as text
from envelope_fields.management.commands._bar import NoBar, progress_bar
from envelope_fields.management.commands._errors import reported
from envelope_fields.management.commands._key_command import named_key
from envelope_fields.management.commands._key_json import as_json
from envelope_fields.models import MasterKey, RotationKind, RotationRun, RotationState
from envelope_fields.rotation import (
    Limits,
    active_run,
    failures,
    find_run,
    forecast,
    pause,
    progress,
    run,
    start,
)
from envelope_fields.rotation.contents import failure_content, run_content
from envelope_fields.rotation.limits import BATCH_SIZE
from envelope_fields.rotation.processes import work_in_processes
from envelope_fields.rotation.running import resumed
from envelope_fields.rotation.waiting import keys_with_work

_LISTED = 20  # failures, of those that are stored


class Command(BaseCommand):
    help = (
        "Move stored values to the current versions of their master keys, while the application "
        "goes on. It can be stopped at any time (also killed) and run again: what is left to do is "
        "what the census says."
    )
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        add = parser.add_argument
        add("--key", metavar="KEY", help="values under this one alone: its alias, or its id")
        add("--field", metavar="APP.MODEL.FIELD", action="append", default=[],
            help="values of this field (or app.Model) alone; can be given again")  # fmt: skip
        add("--database", choices=list(connections), default="", help="values in this one alone")
        add("--re-encrypt", action="store_true",
            help="with new data keys, under the keys that fields have now: after a leak, or when a "
            "field was given another key")  # fmt: skip
        add("--key-version", metavar="N", type=int, action="append", default=[],
            help="values under this version of the key alone; can be given again")  # fmt: skip
        add("--run", metavar="ID", help="work on this run, which was started elsewhere or paused")
        add("--dry-run", action="store_true", help="only say what would be done, and how long")
        add("--workers", metavar="N", type=int, default=1, help="processes that share the work")
        add("--batch-size", metavar="ROWS", type=int, default=BATCH_SIZE,
            help=f"rows of one transaction, {BATCH_SIZE} by default")  # fmt: skip
        add("--max-rate", metavar="ROWS", type=float, help="rows a second, of each process")
        add("--sleep", metavar="SECONDS", type=float, default=0, help="rest after each batch")
        add("--json", action="store_true", help="print JSON")

    def handle(self, **options: Any) -> None:
        if options["workers"] < 1:
            raise CommandError("--workers must be at least 1.")
        if options["key_version"] and not options["key"]:
            raise CommandError("--key-version needs --key: numbers are those of one key.")
        self._options = options
        with reported(), self._values_named():
            if options["dry_run"]:
                self._foretell()
            else:
                self._move()

    def _foretell(self) -> None:
        found = {key: forecast(key, **self._asked_for()) for key in self._keys()}
        as_wanted = text.forecasts_as_json if self._options["json"] else text.forecasts_as_text
        self.stdout.write(as_wanted(found, self._options["workers"]))

    def _move(self) -> None:
        done = []
        for begun in self._runs():
            done.append(self._work(begun))
            if not self._options["json"]:
                self.stdout.write(text.run_as_text(done[-1], progress(done[-1])))
        if self._options["json"]:
            self.stdout.write(as_json([self._content(each) for each in done]))
        elif not done:
            self.stdout.write("Every value is under the current version of its key.")
        self._fail_if_unfinished(done)

    def _runs(self) -> Iterator[RotationRun]:
        if self._options["run"]:
            yield find_run(_uuid(self._options["run"]))
            return
        for key in self._keys():
            # One that was killed is still there; to go on with it is what is wanted.
            yield active_run(key) or start(key, limits=self._limits(), **self._asked_for())

    def _keys(self) -> list[MasterKey]:
        asked = self._options
        if asked["key"]:
            return [named_key(asked["key"])]
        return keys_with_work(self._kind(), asked["field"], asked["database"])

    def _asked_for(self) -> dict[str, Any]:
        asked = self._options
        return {
            "kind": self._kind(),
            "versions": asked["key_version"],
            "fields": asked["field"],
            "database": asked["database"],
        }

    def _kind(self) -> RotationKind:
        return RotationKind.RE_ENCRYPT if self._options["re_encrypt"] else RotationKind.REWRAP

    def _limits(self) -> Limits:
        asked = self._options
        return Limits(
            batch_size=asked["batch_size"], max_rate=asked["max_rate"], sleep=asked["sleep"]
        )

    def _work(self, begun: RotationRun) -> RotationRun:
        bar = progress_bar(str(begun.master_key), wanted=not self._options["json"])
        with bar, _stopped_by_signals(begun):
            if self._options["workers"] == 1:
                return run(begun, watch=lambda tally: _show(bar, begun))
            return work_in_processes(
                resumed(begun), self._options["workers"], lambda now: _show(bar, now)
            )

    def _content(self, done: RotationRun) -> dict[str, Any]:
        listed = [failure_content(failure) for failure in failures(done)]
        return {**run_content(done), "failures": listed}

    def _fail_if_unfinished(self, done: list[RotationRun]) -> None:
        problems = [
            line
            for each in done
            for line in text.problems(each, progress(each), failures(each)[:_LISTED])
        ]
        if problems:
            raise CommandError("\n".join(problems))

    @contextmanager
    def _values_named(self) -> Iterator[None]:
        try:
            yield
        except ValueError as error:  # of `Limits`
            raise CommandError(f"{error}.") from error


def _show(bar: NoBar, now: RotationRun) -> None:
    if type(bar) is not NoBar:
        told = progress(now)
        bar.show(told.total - told.left, told.total)


@contextmanager
def _stopped_by_signals(begun: RotationRun) -> Iterator[None]:
    """Pause the run when somebody interrupts or ends the command, so that it says so."""
    before = signal.getsignal(signal.SIGTERM)
    in_main_thread = threading.current_thread() is threading.main_thread()
    if in_main_thread:
        signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    except KeyboardInterrupt:
        connections.close_all()  # one of them may be in the middle of a query
        paused = pause(begun) if find_run(begun).state == RotationState.RUNNING else begun
        raise CommandError(
            f"Stopped; the run {paused.pk} is paused. Run the same command again to go on."
        ) from None
    finally:
        if in_main_thread:
            signal.signal(signal.SIGTERM, before)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _uuid(given: str) -> UUID:
    try:
        return UUID(given)
    except ValueError:
        raise CommandError(f"{given!r} is not the id of a run.") from None
