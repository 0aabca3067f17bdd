"""What is said of a conversion, as plain data: the same in commands and the admin."""

from collections.abc import Mapping
from typing import Any

from django.utils.translation import ngettext

from envelope_fields.conversion import phases
from envelope_fields.conversion.column_phases import moving_fields
from envelope_fields.conversion.counts import counted
from envelope_fields.exceptions import quantity
from envelope_fields.models import ColumnConversion, ColumnPhase


def converted_fields() -> dict[str, Any]:
    """Return the fields under conversion, from either kind of source, by their labels."""
    moving, fields = set(moving_fields()), phases.encrypted_fields()
    return {label: field for label, field in fields.items() if field in moving or field.legacy}


def moves_beside(field: Any) -> bool:
    """Whether it takes the place of a column in clear, and reads no other package's format."""
    return not field.legacy


def conversion_content(field: Any) -> dict[str, Any]:
    """Return how far a conversion of either kind is, counted now, or raise `CensusFailed`."""
    return move_content(field) if moves_beside(field) else standing_content(phases.standing(field))


def move_content(field: Any) -> dict[str, Any]:
    """Return how far a column in clear is; errors as above."""
    row, found = phases.phase_row(field), counted(field)
    return {
        "field": str(field),
        "kind": "column",
        "phase": str(ColumnPhase.CLEAR if row is None else row.phase),
        "since": None if row is None else row.changed_at,
        "clear": found.clear,
        "envelopes": found.envelopes,
        "remaining": found.remaining,
    }


def standing_content(found: phases.Standing) -> dict[str, Any]:
    """Return how far the conversion of another package's format is."""
    return {
        "field": found.field,
        "kind": "legacy",
        "phase": str(found.phase),
        "since": found.since,
        "finished_at": found.finished_at,
        "remaining": [
            {"format": name, "values": found.remaining[name]} for name in sorted(found.remaining)
        ],
        "envelopes": found.envelopes,
    }


def numbers(content: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Return what was counted of a `conversion_content`, each with what it is."""
    envelopes, left = content["envelopes"], content["remaining"]
    of_envelopes = (ngettext("envelope", "envelopes", envelopes), envelopes)
    if content["kind"] != "column":
        found = [(each["format"], each["values"]) for each in left]
        return [*((phases.format_text(*each), each[1]) for each in found), of_envelopes]
    clear = content["clear"]
    in_clear = (ngettext("value in clear", "values in clear", clear), clear)
    alone = (ngettext("row with one alone", "rows with one alone", left), left)
    return [in_clear, of_envelopes, alone]


def numbers_text(content: Mapping[str, Any]) -> str:
    """Return the same in a line."""
    return ", ".join(f"{number:,} {text}" for text, number in numbers(content))


def differed_text(rows: int) -> str:
    """Return what a comparison has found wrong."""
    return (
        f"{quantity(rows, 'row')} differed and had to be filled again: an old build, or SQL of "
        "your own, writes the old column alone"
    )


def phase_of(field: Any, row: ColumnConversion | None) -> ColumnPhase | phases.Phase:
    """Return the phase that a row has; the first one where there is none."""
    if moves_beside(field):
        return ColumnPhase.CLEAR if row is None else ColumnPhase(row.phase)
    return phases.Phase.OPEN if row is None else phases.Phase(row.phase)
