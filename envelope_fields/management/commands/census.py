"""`manage.py census`: a table for people, or JSON for programs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from django.core.management import BaseCommand, CommandParser
from django.db import connections

from envelope_fields.census import CensusRow, NotCounted, census, not_counted
from envelope_fields.key_versions import KeyVersion, key_versions
from envelope_fields.key_versions import of_key as versions_of
from envelope_fields.management.commands._census_text import (
    Copies,
    Total,
    as_text,
    copies_as_text,
    copies_of,
)
from envelope_fields.management.commands._errors import reported
from envelope_fields.management.commands._key_command import named_key
from envelope_fields.models import KeyState
from envelope_fields.text_copies import TextCopies


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
            versions = key_versions() if of_key is None else versions_of(of_key, key_versions())
            doubts = not_counted(database)
            copies = copies_of(versions, database) if text else None
        totals = _totals(rows, versions)
        if json:
            self.stdout.write(_as_json(rows, totals, doubts, copies))
        else:
            parts = (as_text(rows, totals, doubts), *copies_as_text(copies))
            self.stdout.write("\n\n".join(parts))


def _totals(rows: Iterable[CensusRow], versions: Iterable[KeyVersion]) -> list[Total]:
    """Add up per key version; one that nothing is stored under counts 0, unless it is destroyed."""
    values: Counter[bytes | None] = Counter()
    for row in rows:
        values[row.version_id] += row.values
    known: list[Total] = [
        (version.version_id, version, values.pop(version.version_id, 0))
        for version in versions
        if version.state != KeyState.DESTROYED or version.version_id in values
    ]
    return known + [(version_id, None, values[version_id]) for version_id in values]


def _as_json(
    rows: Iterable[CensusRow],
    totals: Iterable[Total],
    doubts: Iterable[NotCounted],
    copies: Sequence[Copies] | None,
) -> str:
    return json.dumps(
        {
            "rows": [
                {
                    "database": row.database,
                    "schema": row.schema,
                    "model": row.model,
                    "field": row.field,
                    **_version_as_json(row.version_id, row.version),
                    "values": row.values,
                    "history": row.history,
                }
                for row in rows
            ],
            "totals": [
                {**_version_as_json(version_id, version), "values": values}
                for version_id, version, values in totals
            ],
            "not_counted": [asdict(each) for each in doubts],
            **({} if copies is None else {"text": [_copies_as_json(*each) for each in copies]}),
        },
        indent=2,
    )


def _copies_as_json(found: TextCopies, version: KeyVersion) -> dict[str, Any]:
    return {
        "database": found.database,
        "schema": found.schema,
        "model": found.model,
        "field": found.field,
        **_version_as_json(found.version_id, version),
        "rows": found.rows,
    }


def _version_as_json(version_id: bytes | None, version: KeyVersion | None) -> dict[str, Any]:
    return {
        "version_id": version_id.hex() if version_id else None,
        "key": version.key_alias if version else None,
        "key_id": str(version.key_id) if version else None,
        "number": version.number if version else None,
        "state": version.state if version else None,
        "current": version.is_current if version else False,
    }
