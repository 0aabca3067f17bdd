"""A column in clear that is brought to a phase on a terminal, or back."""

from dataclasses import asdict
from typing import Any

from django.core.management import CommandError
from django.core.management.base import BaseCommand

from envelope_fields.conversion import estimates, moves
from envelope_fields.conversion.phases import ConversionRefused
from envelope_fields.conversion.representation import move_content, numbers_text
from envelope_fields.conversion.steps import Steps
from envelope_fields.databases.leftovers import Leftover
from envelope_fields.jobs import representation
from envelope_fields.lifecycle.representation import as_json
from envelope_fields.management import terminal
from envelope_fields.management.limits import given_limits
from envelope_fields.models import ColumnPhase, RotationKind
from envelope_fields.rotation import failures


class ColumnMove:
    """Brings a field to the phase that a command is given.

    Args:
        command: writes what is said.
        field: a field with `converts=`.
        options: of the command.
    """

    def __init__(self, command: BaseCommand, field: Any, options: dict[str, Any]) -> None:
        self._command, self._field, self._options = command, field, options
        self._bar = terminal.progress_bar(str(field), wanted=not options["json"])

    def perform(self) -> None:
        """Do it, or say how long it takes.

        Raises:
            CommandError: the phase is not reached; with what is missing.
        """
        wanted = self._options["to"]
        if wanted not in ColumnPhase:
            raise CommandError(
                f"{self._field} has converts=: --to is one of {', '.join(ColumnPhase)}."
            )
        if self._options["dry_run"]:
            self._foretell(ColumnPhase(wanted))
            return
        steps = Steps(
            self._field,
            limits=given_limits(self._options),
            notice=self._notice,
            watch=self._bar.show_run_if_due,
        )
        missing = self._missing(steps, ColumnPhase(wanted))
        is_over = not missing and wanted == ColumnPhase.ONLY
        self._say(steps, missing, moves.still_in_clear(self._field) if is_over else [])
        if missing:
            raise CommandError(missing)

    def _missing(self, steps: Steps, wanted: ColumnPhase) -> str:
        """Go to a phase; return what is missing where it is not reached."""
        try:
            with self._bar, terminal.ending_as_interrupts():
                steps.to(wanted)
        except ConversionRefused as error:
            failed = steps.runs[-1:] if steps.runs and _failed(steps.runs[-1]) else []
            rows = [line for run in failed for line in terminal.problems(run)]
            return "\n".join([*rows, str(error)])
        except KeyboardInterrupt:
            pass
        else:
            return ""
        if not steps.runs:
            raise CommandError("Stopped. Run the same command again to go on.")
        raise terminal.stopped(steps.runs[-1])

    def _foretell(self, wanted: ColumnPhase) -> None:
        found = moves.counted(self._field)
        fill = estimates.seconds_to_fill(self._field, found)
        compare = estimates.seconds_to_compare(self._field, found)
        if self._options["json"]:
            content = {**move_content(self._field), "seconds": {"fill": fill, "compare": compare}}
            self._command.stdout.write(as_json(content))
            return
        self._notice(move_line(self._field))
        self._notice(
            f"To reach {wanted}: to fill takes about {terminal.duration(fill)}, to compare about "
            f"{terminal.duration(compare)}. Nothing was changed."
        )

    def _say(self, steps: Steps, missing: str, leftovers: list[Leftover]) -> None:
        if self._options["json"]:
            content = {
                **move_content(self._field),
                "missing": missing,
                "still_in_clear": list(map(asdict, leftovers)),
                "runs": list(map(representation.run_content, steps.runs)),
                "failures": [
                    representation.failure_content(each)
                    for run in steps.runs
                    for each in failures(run)
                ],
            }
            self._command.stdout.write(as_json(content))
            return
        for run in steps.runs:
            if run.kind != RotationKind.COMPARE or representation.progress(run).moved:
                self._notice(terminal.run_as_text(run))
        if not missing:
            self._notice(move_line(self._field))
        if leftovers:
            self._notice("What is left in clear, and what ends it:")
        for each in leftovers:
            self._notice(_leftover_line(each))

    def _notice(self, text: str) -> None:
        if not self._options["json"]:
            self._command.stdout.write(text)


def move_line(field: Any) -> str:
    """Return how far a column in clear is, in a line."""
    content = move_content(field)
    return f"{field}: {content['phase']}. {numbers_text(content)}."


def _leftover_line(each: Leftover) -> str:
    found = f": {each.found}" if each.found else ""
    ends = "" if each.is_clear else f". {each.command}"
    return f"- {each.database}: {each.where}{found}{ends}."


def _failed(run: Any) -> int:
    return representation.progress(run).failed
