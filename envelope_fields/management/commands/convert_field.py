"""`manage.py convert_field`: from clear, or from another package's format, into envelopes."""

from dataclasses import asdict
from functools import partial
from time import perf_counter
from typing import Any

from django.core.management import CommandError, CommandParser

from envelope_fields.conversion import counts, phases, runs
from envelope_fields.conversion.column_phases import has_moved, moving_field
from envelope_fields.conversion.phases import ConversionRefused, Phase, Standing, remaining_text
from envelope_fields.conversion.representation import move_content, numbers_text, standing_content
from envelope_fields.conversion.sample import as_text, refuse_unopened, sample
from envelope_fields.conversion.steps import Steps
from envelope_fields.databases.leftovers import Leftover
from envelope_fields.jobs import representation
from envelope_fields.jobs.batches import persist
from envelope_fields.jobs.throttle import Limits
from envelope_fields.management import terminal
from envelope_fields.management.runs import RunsCommand
from envelope_fields.models import ColumnPhase, RotationKind, RotationRun


class Command(RunsCommand):
    help = (
        "Bring a column in clear, or what another package has stored in a field's column, into "
        "envelopes, while the application goes on. It can be stopped at any time (also killed) "
        "and run again. It ends with an error as long as the phase is not reached, and says what "
        "is missing."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        add = parser.add_argument
        add("field", metavar="LABEL", help="app_label.Model.field")
        add("--to", choices=[*map(str, (*ColumnPhase, Phase.CONVERTING, Phase.FINISHED))],
            required=True, metavar="PHASE",
            help="with converts=: clear, both, filling, verified, encrypted, or only, which is "
            "final; with legacy=: converting, or finished, which is final: what is left in the "
            "other format, or comes from an old build, is an error from then on")  # fmt: skip
        add("--dry-run", action="store_true", help="open a sample, and only say what would be done")
        add("--skip-unreadable", action="store_true",
            help="convert the others where some of a sample do not open")  # fmt: skip
        self.add_limits(parser)
        super().add_arguments(parser)

    def perform(self, **options: Any) -> None:
        self._options = options
        moving = moving_field(options["field"])
        if moving is not None:
            ColumnMove(self, moving).perform(options["to"], dry_run=options["dry_run"])
        elif options["to"] == ColumnPhase.ONLY and has_moved(options["field"]):
            self._say_moved()
        else:
            self._perform(phases.convertible(options["field"]))

    def _say_moved(self) -> None:
        """Say that nothing is to be done any more: what deploys may go on running this."""
        label = self._options["field"]
        content = {"field": label, "kind": "column", "phase": str(ColumnPhase.ONLY)}
        self.say(lambda: content, f"{label}: {ColumnPhase.ONLY}, and its column in clear is gone.")

    def _perform(self, field: Any) -> None:
        if self._options["to"] not in (Phase.CONVERTING, Phase.FINISHED):
            raise CommandError(f"{field} has legacy=: --to is converting or finished.")
        began = perf_counter()
        self._run, self._sampled = None, sample(field)
        took = perf_counter() - began
        found = phases.standing(field)
        if found.phase == Phase.FINISHED:
            self._say(found)
            self._fail_if_remaining(found)
            return
        if self._options["dry_run"]:
            self._say(found)
            self._show_forecast(found, took)
        if found.remaining:
            refuse_unopened(field, self._sampled, skip_unreadable=self._options["skip_unreadable"])
        if self._options["dry_run"]:
            return
        if found.remaining or found.phase == Phase.OPEN:
            self._run = self._converted(field)
            found = phases.standing(field)
        if found.is_done and self._options["to"] == Phase.FINISHED:
            found = persist(partial(phases.finish, field))
        self._say(found)
        self._fail_if_remaining(found)

    def _show_forecast(self, found: Standing, took: float) -> None:
        values, tried = sum(found.remaining.values()), sum(each.values for each in self._sampled)
        if values and tried and not self.json:
            about = terminal.duration(2 * values * took / tried)  # with encrypting and writing
            self.stdout.write(
                f"{remaining_text(found)}: to convert them takes about {about}. Nothing was "
                "changed."
            )

    def _converted(self, field: Any) -> RotationRun:
        limits = Limits(**self.limits)
        begun = persist(partial(runs.start, RotationKind.CONVERT, field, limits=limits))
        return self.work(persist(partial(self.limited, begun)), str(field))

    def _say(self, found: Standing) -> None:
        lines = [f"Sample: {as_text(self._sampled)}."] if self._sampled else []
        if self._run is not None:
            lines.append(terminal.run_as_text(self._run))
        content = self._content(found)
        lines.append(f"{found.field}: {found.phase.label}, {numbers_text(content)}.")
        self.say(lambda: content, "\n".join(lines))

    def _content(self, found: Standing) -> dict[str, Any]:
        content = {**standing_content(found), "sample": list(map(asdict, self._sampled))}
        if self._run is not None:
            content["run"] = listed = representation.content_with_failures(self._run)
            content["failures"] = listed.pop("failures")
        return content

    def _fail_if_remaining(self, found: Standing) -> None:
        """Raise while the phase that is asked for is not reached."""
        problems = [] if self._run is None else list(terminal.problems(self._run))
        if found.remaining:
            problems.append(f"{found.field}: {remaining_text(found)} left.")
        elif self._options["to"] == Phase.FINISHED and found.phase != Phase.FINISHED:
            problems.append(f"{found.field}: nothing is left, and it is not finished.")
        if problems:
            raise CommandError("\n".join(problems))


class ColumnMove:
    """Brings a field to the phase that a command is given.

    Args:
        command: writes what is said.
        field: a field with `converts=`.
    """

    def __init__(self, command: RunsCommand, field: Any) -> None:
        self._command, self._field = command, field
        self._bar = command.bar(str(field))

    def perform(self, wanted: str, *, dry_run: bool) -> None:
        """Do it, or say how long it takes.

        Raises:
            CommandError: the phase is not reached; with what is missing.
        """
        if wanted not in ColumnPhase:
            raise CommandError(
                f"{self._field} has converts=: --to is one of {', '.join(ColumnPhase)}."
            )
        if dry_run:
            self._show_forecast(ColumnPhase(wanted))
            return
        steps = Steps(
            self._field,
            limits=self._command.limits,
            notice=self._notice,
            watch=self._bar.show_run_if_due,
        )
        missing = self._missing(steps, ColumnPhase(wanted))
        is_over = not missing and wanted == ColumnPhase.ONLY
        self._say(steps, missing, counts.still_in_clear(self._field) if is_over else [])
        if missing:
            raise CommandError(missing)

    def _missing(self, steps: Steps, wanted: ColumnPhase) -> str:
        """Go to a phase; return what is missing where it is not reached."""
        try:
            with self._bar, terminal.ending_as_interrupts():
                steps.to(wanted)
        except ConversionRefused as error:
            failed = [run for run in steps.runs[-1:] if representation.progress(run).failed]
            rows = [line for run in failed for line in terminal.problems(run)]
            return "\n".join([*rows, str(error)])
        except KeyboardInterrupt:
            pass
        else:
            return ""
        if not steps.runs:
            raise CommandError("Stopped. Run the same command again to go on.")
        raise terminal.stopped(steps.runs[-1])

    def _show_forecast(self, wanted: ColumnPhase) -> None:
        found = counts.counted(self._field)
        fill = counts.seconds_to_fill(self._field, found)
        compare = counts.seconds_to_compare(self._field, found)
        content = move_content(self._field)
        text = (
            f"{terminal.move_line(content)}\n"
            f"To reach {wanted}: to fill takes about {terminal.duration(fill)}, to compare about "
            f"{terminal.duration(compare)}. Nothing was changed."
        )
        seconds = {"fill": fill, "compare": compare}
        self._command.say(lambda: {**content, "seconds": seconds}, text)

    def _say(self, steps: Steps, missing: str, leftovers: list[Leftover]) -> None:
        if self._command.json:
            runs = list(map(representation.content_with_failures, steps.runs))
            failures = [failure for run in runs for failure in run.pop("failures")]
            left = list(map(asdict, leftovers))
            ended = {"missing": missing, "still_in_clear": left, "runs": runs, "failures": failures}
            self._command.write_json({**move_content(self._field), **ended})
            return
        for run in steps.runs:
            if run.kind != RotationKind.COMPARE or representation.progress(run).moved:
                self._notice(terminal.run_as_text(run))
        if not missing:
            self._notice(terminal.move_line(move_content(self._field)))
        if leftovers:
            self._notice("What is left in clear, and what ends it:")
        for each in leftovers:
            self._notice(_leftover_line(each))

    def _notice(self, text: str) -> None:
        if not self._command.json:
            self._command.stdout.write(text)


def _leftover_line(each: Leftover) -> str:
    found = f": {each.found}" if each.found else ""
    ends = "" if each.is_clear else f". {each.command}"
    return f"- {each.database}: {each.where}{found}{ends}."
