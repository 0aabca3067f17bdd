"""`manage.py verify_audit_trail`: exit code 1 if something is wrong with the trail."""

from argparse import ArgumentTypeError
from dataclasses import asdict
from typing import Any

from django.core.management import CommandError, CommandParser

from envelope_fields import audit
from envelope_fields.management import EnvelopeCommand

SHOWN = 20


class Command(EnvelopeCommand):
    help = (
        "Check that no event of the audit trail was changed, removed or replaced, and print the "
        "head of the trail, to be kept outside this database for the next time."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--head",
            metavar="NUMBER:MAC",
            type=_head,
            help="a head that was kept outside this database, from the log or a verification",
        )
        super().add_arguments(parser)

    def perform(self, *, head: audit.Head | None = None, **options: Any) -> None:
        found = audit.verify(head)
        self.say(lambda: _content(found), _text(found, head is not None))
        if not found.intact:
            raise CommandError("The audit trail is not what it was.")


def _head(text: str) -> audit.Head:
    try:
        return audit.Head.parse(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from error


def _text(found: audit.Verification, head_is_known: bool) -> str:
    lines = [str(problem) for problem in found.problems[:SHOWN]]
    if len(found.problems) > SHOWN:
        lines.append(f"and {len(found.problems) - SHOWN:,} more; --json prints all")
    if found.intact and found.events:
        lines.append(f"All events are as they were recorded: {found.events:,}.")
        if not head_is_known:
            lines.append("Whether later ones were cut off, only a known --head can tell.")
    elif found.intact:
        lines.append("There is no event, so nothing is proven.")
        if not head_is_known:
            lines.append("Whether there were any, only a known --head can tell.")
    return "\n".join([*lines, f"head: {found.head}"])


def _content(found: audit.Verification) -> dict[str, Any]:
    head, problems = str(found.head), list(map(asdict, found.problems))
    return {"intact": found.intact, "events": found.events, "head": head, "problems": problems}
