"""`manage.py verify_audit_trail`: exit code 1 if something is wrong with the trail."""

from __future__ import annotations

import json
from argparse import ArgumentTypeError
from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser

from envelope_fields import audit
from envelope_fields.management.commands._errors import reported

SHOWN = 20


class Command(BaseCommand):
    help = (
        "Check that no event of the audit trail was changed, removed or replaced, and print the "
        "head of the trail, to be kept outside this database for the next time."
    )
    # It is most wanted where something is wrong.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--head",
            metavar="NUMBER:MAC",
            type=_head,
            help="a head that was kept elsewhere: from the log, or from an earlier verification",
        )
        parser.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, *, head: audit.Head | None = None, json: bool = False, **options: Any) -> None:
        with reported():
            found = audit.verify(head)
        self.stdout.write(_as_json(found) if json else _as_text(found, head is not None))
        if not found.intact:
            raise CommandError("The audit trail is not what it was.")


def _head(text: str) -> audit.Head:
    try:
        return audit.Head.parse(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from error


def _as_text(found: audit.Verification, head_is_known: bool) -> str:
    lines = [str(problem) for problem in found.problems[:SHOWN]]
    if len(found.problems) > SHOWN:
        lines.append(f"and {len(found.problems) - SHOWN:,} more; --json prints all")
    if found.intact and found.events:
        lines.append(f"All {found.events:,} events are as they were recorded.")
        if not head_is_known:
            lines.append("Whether later ones were cut off, only a known --head can tell.")
    elif found.intact:
        lines.append("There is no event, so nothing is proven.")
        if not head_is_known:
            lines.append("Whether there were any, only a known --head can tell.")
    return "\n".join([*lines, f"head: {found.head}"])


def _as_json(found: audit.Verification) -> str:
    return json.dumps(
        {
            "intact": found.intact,
            "events": found.events,
            "head": str(found.head),
            "problems": [
                {"first": problem.first, "last": problem.last, "cause": str(problem.cause)}
                for problem in found.problems
            ],
        },
        indent=2,
    )
