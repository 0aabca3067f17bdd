"""`manage.py census`: a table for people, or JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from django.core.management import BaseCommand, CommandParser
from django.db import connections

from envelope_fields.census import CensusRow, NotCounted, census, not_counted
from envelope_fields.census.representation import (
    Total,
    copies_content,
    not_counted_content,
    row_content,
    total_content,
    totals,
)
from envelope_fields.census.versions import key_versions
from envelope_fields.census.versions import of_key as versions_of
from envelope_fields.management.commands._census_text import (
    Copies,
    as_text,
    copies_as_text,
    copies_of,
)
from envelope_fields.management.commands._errors import reported
from envelope_fields.management.commands._key_command import named_key


class Command(BaseCommand):
    help = "Count the stored values under each key version, without decrypting any."
    # It is most wanted where something is wrong, such as a root key that is missing.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--database", choices=list(connections), help="count in this one alone")
        parser.add_argument("--key", help="count what is under this master key, by its alias or id")
        parser.add_argument(
            "--text",
            action="store_true",
            help="look for envelopes as text, too, in the text and JSON columns of all models",
        )
        parser.add_argument("--json", action="store_true", help="print JSON")

    def handle(
        self,
        *,
        database: str | None = None,
        key: str | None = None,
        text: bool = False,
        json: bool = False,
        **options: Any,
    ) -> None:
        with reported():
            of_key = None if key is None else named_key(key)
            rows = census(of_key, database=database)
            versions = key_versions() if of_key is None else versions_of(of_key)
            doubts = not_counted(database)
            copies = copies_of(versions, database) if text else None
        found = totals(rows, versions)
        if json:
            self.stdout.write(_as_json(rows, found, doubts, copies))
        else:
            parts = (as_text(rows, found, doubts), *copies_as_text(copies))
            self.stdout.write("\n\n".join(parts))


def _as_json(
    rows: Iterable[CensusRow],
    found: Iterable[Total],
    doubts: Iterable[NotCounted],
    copies: Sequence[Copies] | None,
) -> str:
    content = {
        "rows": [row_content(row) for row in rows],
        "totals": [total_content(total) for total in found],
        "not_counted": [not_counted_content(each) for each in doubts],
        **({} if copies is None else {"text": [copies_content(*each) for each in copies]}),
    }
    return json.dumps(content, indent=2)
