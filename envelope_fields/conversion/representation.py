"""What is said of a conversion, as plain data: the same in commands and the admin."""

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _

from envelope_fields.conversion import moves
from envelope_fields.conversion.column_phases import moving_fields, phase_row
from envelope_fields.conversion.phases import Phase, Standing, format_text, standing
from envelope_fields.models import ColumnConversion, ColumnPhase
from envelope_fields.rotation.scope import chosen_columns


def converted_fields() -> dict[str, Any]:
    """Return the fields under conversion, from either kind of source, by their labels."""
    fields = {str(column): column.encrypted_field for column in chosen_columns()}
    moving = set(moving_fields())
    return {
        label: field for label, field in sorted(fields.items()) if field in moving or field.legacy
    }


def moves_beside(field: Any) -> bool:
    """Whether it takes the place of a column in clear, and reads no other package's format."""
    return not field.legacy


def conversion_content(field: Any) -> dict[str, Any]:
    """Return how far a conversion of either kind is, counted now.

    Raises:
        CensusFailed: a table could not be counted, or not all of its rows.
    """
    return move_content(field) if moves_beside(field) else standing_content(standing(field))


def move_content(field: Any) -> dict[str, Any]:
    """Return how far a column in clear is; errors as above."""
    row, found = phase_row(field), moves.counted(field)
    return {
        "field": str(field),
        "kind": "column",
        "phase": str(ColumnPhase.CLEAR if row is None else row.phase),
        "since": None if row is None else row.changed_at,
        "clear": found.clear,
        "envelopes": found.envelopes,
        "remaining": found.remaining,
    }


def standing_content(found: Standing) -> dict[str, Any]:
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
    """Return what was counted of a conversion of either kind, each with what it is.

    Args:
        content: as `conversion_content` returns it.
    """
    envelopes = (_("envelopes"), content["envelopes"])
    if content["kind"] == "column":
        alone = (_("rows with one alone"), content["remaining"])
        return [(_("values in clear"), content["clear"]), envelopes, alone]
    left = [(format_text(each["format"]), each["values"]) for each in content["remaining"]]
    return [*left, envelopes]


def numbers_text(content: Mapping[str, Any]) -> str:
    """Return the same in a line."""
    return ", ".join(f"{number:,} {text}" for text, number in numbers(content))


def differed_text(rows: int) -> str:
    """Return what a comparison has found wrong."""
    return (
        f"{rows:,} rows differed and were filled again: an old build, or SQL of your own, writes "
        "the old column alone"
    )


def phase_of(field: Any, row: ColumnConversion | None) -> ColumnPhase | Phase:
    """Return the phase that a row has; the first one where there is none."""
    if moves_beside(field):
        return ColumnPhase.CLEAR if row is None else ColumnPhase(row.phase)
    return Phase.OPEN if row is None else Phase(row.phase)
