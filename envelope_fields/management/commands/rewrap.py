"""`manage.py rewrap`: moves stored values to the current versions of their keys."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any
from uuid import UUID

from django.core.management import CommandError, CommandParser
from django.db import connections

from envelope_fields import rotation
from envelope_fields.jobs import representation
from envelope_fields.jobs.runs import active_runs, keys_of
from envelope_fields.lifecycle.keys import named_key
from envelope_fields.management import run_id, terminal
from envelope_fields.management.runs import RunsCommand
from envelope_fields.models import KeyState, MasterKey, RotationKind, RotationRun
from envelope_fields.rotation import Forecast, Limits, runs, scope
from envelope_fields.rotation.scope import PlainValues, UnknownValues, plain_values


class Command(RunsCommand):
    help = (
        "Move stored values to the current versions of their master keys, while the application "
        "goes on. It can be stopped at any time (also killed) and run again: what is left to do is "
        "what the census says."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        add = parser.add_argument
        add("--key", metavar="KEY", help="values under this one alone: its alias, or its id")
        add("--field", metavar="APP.MODEL.FIELD", action="append", default=[],
            help="values of this field (or app.Model) alone; repeatable")  # fmt: skip
        add("--database", choices=list(connections), default="", help="values in this one alone")
        add("--re-encrypt", action="store_true",
            help="with new data keys, under the keys that fields have now: after a leak, or when a "
            "field was given another key")  # fmt: skip
        add("--key-version", metavar="N", type=int, action="append", default=[],
            help="values under this version of the key alone; repeatable")  # fmt: skip
        add("--run", metavar="ID", help="work on this run, which was started elsewhere or paused")
        add("--dry-run", action="store_true", help="only say what would be done, and how long")
        self.add_workers_and_limits(parser)
        super().add_arguments(parser)

    def perform(self, **options: Any) -> None:
        if options["key_version"] and not options["key"]:
            raise CommandError("--key-version needs --key: numbers are those of one key.")
        self._options = options
        self._unusable: list[MasterKey] = []
        if options["dry_run"]:
            self._show_forecast()
        else:
            self._move()

    def _show_forecast(self) -> None:
        found = {key: rotation.forecast(key, **self._asked_for()) for key in self._keys()}
        plain = self._plain()
        lines = [*terminal.plain_as_text(plain), terminal.forecasts_as_text(found, self.workers)]
        self.say(lambda: [*_forecast_content(found), *_plain_content(plain)], "\n".join(lines))

    def _move(self) -> None:
        done = []
        for begun in self._runs():
            done.append(self.work(begun))
            if not self.json:
                self.stdout.write(terminal.run_as_text(done[-1]))
        plain = self._plain()
        if self.json:
            contents = list(map(representation.content_with_failures, done))
            self.write_json([*contents, *_plain_content(plain)])
        elif not done and not plain:
            self.stdout.write("Every value is under the current version of its key.")
        self._fail_if_unfinished(done, plain)

    def _runs(self) -> Iterator[RotationRun]:
        if self._options["run"]:
            yield self.limited(rotation.find_run(run_id(self._options["run"])))
            return
        free: list[MasterKey] = []
        under_way: dict[UUID, RotationRun] = {}
        for key in self._keys():
            found = rotation.active_run(key)
            if found is None:
                free.append(key)
            elif runs.is_same_request(found, **self._asked_for()):
                under_way[found.pk] = found
            else:
                raise rotation.RotationUnderWay(key, found)
        # One that was killed is still there; to go on with it is what is wanted.
        yield from map(self.limited, under_way.values())
        usable = [key for key in free if key.state == KeyState.ENABLED]
        if len(usable) < len(free) == 1:
            usable = free  # to start it says what is wrong
        self._unusable = [key for key in free if key not in usable]
        if usable:
            yield self._started(usable)

    def _started(self, keys: list[MasterKey]) -> RotationRun:
        try:
            return rotation.start(keys, limits=Limits(**self.limits), **self._asked_for())
        except rotation.RotationUnderWay as error:  # such as cron's, which began just now
            found = error.run
            if found is None or not runs.is_same_request(found, **self._asked_for()):
                raise
            if not set(keys) <= set(keys_of(found)):
                raise
            return self.limited(found)

    def _keys(self) -> list[MasterKey]:
        asked = self._options
        if asked["key"]:
            return [named_key(asked["key"])]
        found = scope.keys_with_work(self._kind(), asked["field"], asked["database"])
        # A process that was killed may have moved the last value, and not said so.
        under_way = [run for run in active_runs() if runs.is_same_request(run, **self._asked_for())]
        return list(dict.fromkeys([*found, *(key for run in under_way for key in keys_of(run))]))

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

    def _plain(self) -> list[PlainValues]:
        """Count what no run moves, in the fields that are asked for."""
        asked = self._options
        if asked["run"]:
            begun = rotation.find_run(run_id(asked["run"]))
            if begun.kind not in scope.MOVING:
                return []
            return plain_values(begun.only_fields, begun.only_database)
        return plain_values(asked["field"], asked["database"])

    def _fail_if_unfinished(self, done: list[RotationRun], plain: list[PlainValues]) -> None:
        problems = [line for each in done for line in terminal.problems(each)]
        problems += terminal.plain_as_text(plain) + list(map(terminal.unusable, self._unusable))
        if problems:
            raise CommandError("\n".join(problems))


def _forecast_content(found: Mapping[MasterKey, Sequence[Forecast]]) -> list[dict[str, Any]]:
    return [
        {"key": representation.key_content(key), **asdict(each)}
        for key, forecasts in found.items()
        for each in forecasts
    ]


def _plain_content(found: list[PlainValues]) -> list[dict[str, Any]]:
    """Return what follows the runs; nothing where every value is an envelope that is known."""
    unknown = [asdict(each) for each in found if isinstance(each, UnknownValues)]
    plain = [asdict(each) for each in found if not isinstance(each, UnknownValues)]
    named = {"not_envelopes": plain, "unknown_versions": unknown}
    return [{name: listed} for name, listed in named.items() if listed]
