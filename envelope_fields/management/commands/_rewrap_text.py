"""What `rewrap` says: beforehand, afterwards, and about what could not be moved."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from envelope_fields.models import MasterKey, RotationFailure, RotationRun, RotationState
from envelope_fields.rotation import Forecast, Progress
from envelope_fields.rotation.representation import (
    forecast_content,
    key_contents,
    plain_values_content,
    run_title,
)
from envelope_fields.rotation.scope import PlainValues

Forecasts = Mapping[MasterKey, Sequence[Forecast]]

_WORDS = {
    "rewrap": "rewrapped",
    "re_encrypt": "re-encrypted",
}


def forecasts_as_text(found: Forecasts, workers: int) -> str:
    """Return what would be done."""
    lines = [
        f"{key}: {each.values:,} values of {each.field} in "
        f"{in_schema(each.schema)}{each.database!r}, "
        f"about {duration(each.seconds / workers)}"
        for key, forecasts in found.items()
        for each in forecasts
    ]
    if not lines:
        return "Nothing to do: every value is under the current version of its key."
    return "\n".join([*lines, "Nothing was changed."])


def forecasts_as_json(found: Forecasts, workers: int) -> list[dict[str, Any]]:
    """Return the same for programs; seconds are those of one process."""
    return [forecast_content(key, each) for key, forecasts in found.items() for each in forecasts]


def plain_as_text(found: Iterable[PlainValues]) -> list[str]:
    """Return a line for each field that holds values that are no envelopes."""
    return [
        f"{each.field} in {in_schema(each.schema)}{each.database!r}: {each.values:,} values, each "
        f"{each.cause}: stored before the field was encrypted, or damaged. They were not moved, "
        "and cannot be read."
        for each in found
    ]


def plain_as_json(found: Sequence[PlainValues]) -> list[dict[str, Any]]:
    """Return the same for programs, as what follows the runs; nothing where there are none."""
    return [{"not_envelopes": list(map(plain_values_content, found))}] if found else []


def run_as_text(done: RotationRun, progress: Progress) -> list[str]:
    """Return what became of a run; where it was about several keys, with a line for each."""
    by_key = [] if done.master_key is not None else key_contents(done)
    stayed = "failed" if done.state == RotationState.COMPLETED else "left"
    lines = [
        f"{key['alias'] or key['id']}: {key['total'] - key['remaining']:,} values "
        f"{_WORDS[done.kind]}, {key['remaining']:,} {stayed}."
        for key in by_key
    ]
    text = (
        f"{run_title(done)}: {progress.moved:,} values {_WORDS[done.kind]}, "
        f"{progress.failed:,} failed. Run {done.pk}: {done.state}."
    )
    if progress.rate:
        text += f" {progress.rate:,.0f} values a second."
    return [*lines, text]


def unusable(key: MasterKey) -> str:
    """Return why the values under a key were not moved with those under others."""
    state = key.state.replace("_", " ")
    return f"The values under {key} were not moved: it is {state}. Enable the key."


def problems(
    done: RotationRun, progress: Progress, failures: Iterable[RotationFailure]
) -> list[str]:
    """Return a line for everything that is not as it should be after a run."""
    lines = [
        f"{failure.range.column} {failure.row}{_with_schema(failure)}: {failure.cause}: "
        f"{failure.message}"
        for failure in failures
    ]
    if progress.failed > len(lines):
        lines.append(f"and {progress.failed - len(lines):,} more under {run_title(done)}")
    if done.state != RotationState.COMPLETED:
        lines.append(f"The run {done.pk} is {done.state}. {done.error}".rstrip())
    return lines


def in_schema(schema: str | None) -> str:
    """Name a schema before its database, where it has to be named."""
    return "" if schema is None else f"the schema {schema!r} of "


def _with_schema(failure: RotationFailure) -> str:
    schema = failure.range.column.named_schema
    return "" if schema is None else f" in the schema {schema!r}"


def duration(seconds: float) -> str:
    """Return a time for people to read."""
    if seconds < 1:
        return "a second"
    return str(timedelta(seconds=round(seconds)))
