"""`manage.py convert_field`: from clear, or from another package's format, into envelopes."""

from dataclasses import asdict
from functools import partial
from time import perf_counter
from typing import Any

from django.core.management import CommandError, CommandParser

from envelope_fields import conversion
from envelope_fields.conversion import Phase, Standing
from envelope_fields.conversion.phases import remaining_text
from envelope_fields.conversion.representation import standing_content
from envelope_fields.conversion.sample import as_text
from envelope_fields.jobs import representation
from envelope_fields.jobs.batches import persist
from envelope_fields.jobs.throttle import Limits
from envelope_fields.management import terminal
from envelope_fields.management.column_moves import ColumnMove
from envelope_fields.management.limits import LimitedCommand, add_limits, given_limits
from envelope_fields.models import ColumnPhase, RotationRun
from envelope_fields.rotation import failures, limit


class Command(LimitedCommand):
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
        add_limits(parser)
        super().add_arguments(parser)

    def perform(self, **options: Any) -> None:
        self._options = options
        try:
            moving = conversion.moving_field(options["field"])
            if moving is not None:
                ColumnMove(self, moving, options).perform()
            elif options["to"] == ColumnPhase.ONLY and conversion.has_moved(options["field"]):
                self._say_moved()
            else:
                self._perform(conversion.convertible(options["field"]))
        except ValueError as error:  # of `Limits`
            raise CommandError(f"{error}.") from error

    def _say_moved(self) -> None:
        """Say that nothing is to be done any more: what deploys may go on running this."""
        label = self._options["field"]
        if self._options["json"]:
            self.write_json({"field": label, "kind": "column", "phase": str(ColumnPhase.ONLY)})
        else:
            self.stdout.write(f"{label}: {ColumnPhase.ONLY}, and its column in clear is gone.")

    def _perform(self, field: Any) -> None:
        if self._options["to"] not in (Phase.CONVERTING, Phase.FINISHED):
            raise CommandError(f"{field} has legacy=: --to is converting or finished.")
        began = perf_counter()
        self._run, self._sampled = None, conversion.sample(field)
        took = perf_counter() - began
        found = conversion.standing(field)
        if found.phase == Phase.FINISHED:
            self._say(found)
            self._fail_if_remaining(found)
            return
        if self._options["dry_run"]:
            self._say(found)
            self._foretell(found, took)
        if found.remaining:
            conversion.refuse_unopened(
                field, self._sampled, skip_unreadable=self._options["skip_unreadable"]
            )
        if self._options["dry_run"]:
            return
        if found.remaining or found.phase == Phase.OPEN:
            self._run = self._converted(field)
            found = conversion.standing(field)
        if found.is_done and self._options["to"] == Phase.FINISHED:
            found = persist(partial(conversion.finish, field))
        self._say(found)
        self._fail_if_remaining(found)

    def _foretell(self, found: Standing, took: float) -> None:
        values, tried = sum(found.remaining.values()), sum(each.values for each in self._sampled)
        if values and tried and not self._options["json"]:
            about = terminal.duration(2 * values * took / tried)  # with encrypting and writing
            self.stdout.write(
                f"{remaining_text(found)}: to convert them takes about {about}. Nothing was "
                "changed."
            )

    def _converted(self, field: Any) -> RotationRun:
        limits = given_limits(self._options)
        begun = persist(partial(conversion.start, field, limits=Limits(**limits)))
        if limits:  # one that was killed goes on within what is asked for now
            begun = persist(partial(limit, begun, Limits(**{**begun.limits, **limits})))
        bar = terminal.progress_bar(str(field), wanted=not self._options["json"])
        try:
            with bar, terminal.ending_as_interrupts():
                return conversion.run(begun, watch=lambda result: bar.show_run_if_due(begun))
        except KeyboardInterrupt:
            pass
        raise terminal.stopped(begun)

    def _say(self, found: Standing) -> None:
        if self._options["json"]:
            content = {**standing_content(found), "sample": list(map(asdict, self._sampled))}
            if self._run is not None:
                content["run"] = representation.run_content(self._run)
                failed = map(representation.failure_content, failures(self._run))
                content["failures"] = list(failed)
            self.write_json(content)
            return
        lines = [f"Sample: {as_text(self._sampled)}."] if self._sampled else []
        if self._run is not None:
            lines.append(terminal.run_as_text(self._run))
        lines.append(f"{found.field}: {found.phase.label}, {found.envelopes:,} envelopes.")
        self.stdout.write("\n".join(lines))

    def _fail_if_remaining(self, found: Standing) -> None:
        """Raise while the phase that is asked for is not reached."""
        problems = [] if self._run is None else list(terminal.problems(self._run))
        if found.remaining:
            problems.append(f"{found.field}: {remaining_text(found)} are left.")
        elif self._options["to"] == Phase.FINISHED and found.phase != Phase.FINISHED:
            problems.append(f"{found.field}: nothing is left, and it is not finished.")
        if problems:
            raise CommandError("\n".join(problems))
