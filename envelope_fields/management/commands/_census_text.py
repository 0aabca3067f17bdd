"""The census as text: what is stored, then the total of each key version."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from envelope_fields.census import CensusRow, NotCounted
from envelope_fields.census.representation import Total
from envelope_fields.census.text_copies import TextCopies, text_copies
from envelope_fields.census.versions import KeyVersion
from envelope_fields.models import KeyState

KEY_HEADINGS = ("key", "version", "version id")

Copies = tuple[TextCopies, KeyVersion]


def as_text(
    rows: Sequence[CensusRow], totals: Sequence[Total], doubts: Sequence[NotCounted]
) -> str:
    """Return two tables, and below them what is wrong and what to do about it."""
    places = (*_places(rows), "field")
    stored = [
        (*_where(row, places), *_names(row.version_id, row.version), row.values) for row in rows
    ]
    summed = [
        (*_names(version_id, version), _state(version), values)
        for version_id, version, values in totals
    ]
    parts = ["No encrypted values are stored."]
    if stored:
        parts = [_table((*places, *KEY_HEADINGS, "values"), stored)]
    if summed:
        parts.append(_table((*KEY_HEADINGS, "state", "values"), summed))
    parts += _advice(rows)
    if doubts:
        parts.append("\n".join(["Not counted, or not for certain:", *map(str, doubts)]))
    return "\n\n".join(parts)


def copies_of(versions: Iterable[KeyVersion], database: str | None) -> list[Copies]:
    """Look for envelopes of these versions that are stored as text; errors as `text_copies`'."""
    known = {version.version_id: version for version in versions}
    return [(each, known[each.version_id]) for each in text_copies(known, database=database)]


def copies_as_text(copies: Sequence[Copies] | None) -> list[str]:
    """Return the table of envelopes that are stored as text, where they were looked for."""
    if copies is None:
        return []
    if not copies:
        return ["No text or JSON column of an installed model holds an envelope."]
    places = _places(each for each, _ in copies)
    headings = (*places, "text or JSON column", *KEY_HEADINGS, "rows")
    rows = [
        (*_where(each, places), each.field, *_names(each.version_id, version), each.rows)
        for each, version in copies
    ]
    return [_table(headings, rows)]


def _places(found: Iterable[CensusRow | TextCopies]) -> tuple[str, ...]:
    """Return what tells places apart; schemas only where there are several."""
    return ("database", *(["schema"] if any(each.schema for each in found) else []), "model")


def _where(found: CensusRow | TextCopies, places: Iterable[str]) -> tuple[str, ...]:
    return tuple(getattr(found, name) or "" for name in places)


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
    plain = sum(row.values for row in unnamed if row.version_id is None)
    unknown = sum(row.values for row in unnamed) - plain
    advice = []
    if unknown:
        advice.append(
            f"Values under key versions whose rows are missing: {unknown:,}. They cannot be read "
            "until those rows are restored from a backup of the keys."
        )
    if plain:
        advice.append(
            f"Values that are not envelopes: {plain:,}. They cannot be read; they were stored "
            "before the field was encrypted, or damaged."
        )
    history = sum(row.history for row in rows)
    if history:
        advice.append(
            f"Values that are in the history of their tables alone: {history:,}. No rotation moves "
            "these; DELETE HISTORY FROM the table removes them."
        )
    return advice


def _table(headings: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Align columns; the last one, of numbers, to the right."""
    lines = [headings, *((*map(str, row[:-1]), f"{row[-1]:,}") for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join((*map(str.ljust, line[:-1], widths), line[-1].rjust(widths[-1])))
        for line in lines
    )
