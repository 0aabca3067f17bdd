"""`manage.py census`: a table for people, or JSON for programs."""

from collections.abc import Iterable, Sequence
from typing import Any

from django.core.management import CommandParser
from django.db import connections

from envelope_fields.census import CensusRow, NotCounted, census, not_counted, representation
from envelope_fields.census.text_copies import TextCopies, text_copies
from envelope_fields.census.values import KeyVersion, key_versions, of_key as versions_of
from envelope_fields.keyring.rows import further_wraps_of
from envelope_fields.lifecycle.keys import named_key
from envelope_fields.management import EnvelopeCommand
from envelope_fields.models import KeyState

_KEY_HEADINGS = ("key", "version", "version id")

_Copies = tuple[TextCopies, KeyVersion]


class Command(EnvelopeCommand):
    help = "Count the stored values under each key version, without decrypting any."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--database", choices=list(connections), help="count in this one alone")
        parser.add_argument("--key", help="count what is under this master key, by its alias or id")
        parser.add_argument(
            "--text",
            action="store_true",
            help="look for envelopes as text, too, in the text and JSON columns of all models",
        )
        super().add_arguments(parser)

    def perform(self, **options: Any) -> None:
        database, key = options["database"], options["key"]
        of_key = None if key is None else named_key(key)
        rows = census(of_key, database=database)
        versions = key_versions() if of_key is None else versions_of(of_key)
        doubts = not_counted(database)
        copies = _copies_of(versions, database) if options["text"] else None
        found = representation.totals(rows, versions)
        further = further_wraps_of([each.version_id for each in versions])
        if self.json:
            content = representation.census_content(rows, found, doubts, further)
            if copies is not None:
                content["text"] = [representation.copies_content(*each) for each in copies]
            self.write_json(content)
        else:
            parts = (_text(rows, found, doubts, further), *_copies_text(copies))
            self.stdout.write("\n\n".join(parts))


def _text(
    rows: Sequence[CensusRow],
    totals: Sequence[representation.Total],
    doubts: Sequence[NotCounted],
    further: representation.FurtherWraps,
) -> str:
    """Return two tables or three, and below them what is wrong and what to do about it."""
    headings = (*_headings(rows), "field")
    stored = [(*_cells(row, headings), *_names_of(row), row.values) for row in rows]
    summed = [
        (*_names(version_id, version), _state(version), values)
        for version_id, version, values in totals
    ]
    parts = ["No encrypted values are stored."]
    if stored:
        parts = [_table((*headings, *_KEY_HEADINGS, "values"), stored)]
    if summed:
        parts.append(_table((*_KEY_HEADINGS, "state", "values"), summed))
    known = [each.version for each in totals if each.version]
    wrapped_by = representation.wrapped_by(known, further)
    if further or any(wrapping_key_id for _, wrapping_key_id, _ in wrapped_by):
        parts.append(_table(("root key", "wrapped with", "key versions"), wrapped_by))
    parts += _advice(rows)
    if doubts:
        parts.append("\n".join(["Not counted, or not for certain:", *map(str, doubts)]))
    return "\n\n".join(parts)


def _copies_of(versions: Iterable[KeyVersion], database: str | None) -> list[_Copies]:
    """Look for envelopes of these versions that are stored as text; errors as `text_copies`'."""
    known = {version.version_id: version for version in versions}
    return [(each, known[each.version_id]) for each in text_copies(known, database=database)]


def _copies_text(copies: Sequence[_Copies] | None) -> list[str]:
    """Return the table of envelopes that are stored as text, where they were looked for."""
    if copies is None:
        return []
    if not copies:
        return ["No text or JSON column of an installed model holds an envelope."]
    columns = _headings(each for each, _ in copies)
    headings = (*columns, "text or JSON column", *_KEY_HEADINGS, "rows")
    rows = [
        (*_cells(each, columns), each.field, *_names(each.version_id, version), each.rows)
        for each, version in copies
    ]
    return [_table(headings, rows)]


def _headings(found: Iterable[CensusRow | TextCopies]) -> tuple[str, ...]:
    """Return the columns of the table; schemas only where there are several."""
    return ("database", *(["schema"] if any(each.schema for each in found) else []), "model")


def _cells(found: CensusRow | TextCopies, headings: Iterable[str]) -> tuple[str, ...]:
    return tuple(getattr(found, name) or "" for name in headings)


def _names_of(row: CensusRow) -> tuple[str, str, str]:
    return ("", row.format, "") if row.format else _names(row.version_id, row.version)


def _names(version_id: bytes | None, version: KeyVersion | None) -> tuple[str, str, str]:
    if version_id is None:
        return "", "not an envelope", ""
    if version is None:
        return "", "unknown", version_id.hex()
    return version.key_alias or str(version.key_id), str(version.number), version_id.hex()


def _state(version: KeyVersion | None) -> str:
    if version is None:
        return ""
    state = str(KeyState(version.state).label)
    return f"{state}, current" if version.is_current else state


def _advice(rows: Sequence[CensusRow]) -> list[str]:
    unnamed = [row for row in rows if row.version is None]
    legacy = sum(row.values for row in unnamed if row.format)
    plain = sum(row.values for row in unnamed if row.version_id is None) - legacy
    unknown = sum(row.values for row in unnamed) - plain - legacy
    history = sum(row.history for row in rows)
    advice = {
        "Values under key versions whose rows are missing: {:,}. They cannot be read until those "
        "rows are restored from a backup of the keys.": unknown,
        "Values in the format of another package: {:,}. `convert_field` brings them into "
        "envelopes.": legacy,
        "Values that are not envelopes: {:,}. They cannot be read; they were stored before the "
        "field was encrypted, or damaged.": plain,
        "Values that are in the history of their tables alone: {:,}. No rotation moves these; "
        "DELETE HISTORY FROM the table removes them.": history,
    }
    return [text.format(values) for text, values in advice.items() if values]


def _table(headings: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Align columns; the last one, of numbers, to the right."""
    lines = [headings, *((*map(str, row[:-1]), f"{row[-1]:,}") for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join((*map(str.ljust, line[:-1], widths), line[-1].rjust(widths[-1])))
        for line in lines
    )
