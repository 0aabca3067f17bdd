"""What is said of a census, as plain data: the same in commands, the admin and the API."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from types import MappingProxyType
from typing import Any, NamedTuple

from envelope_fields.census import CensusRow
from envelope_fields.census.text_copies import TextCopies
from envelope_fields.census.uncounted import NotCounted
from envelope_fields.census.values import KeyVersion
from envelope_fields.keyring.rows import Wrap
from envelope_fields.models import KeyState

FurtherWraps = Mapping[bytes, Sequence[Wrap]]


class Total(NamedTuple):
    """The values under one key version, in all columns that were counted."""

    version_id: bytes | None  # None for values that are not envelopes
    version: KeyVersion | None  # None where the keys' database does not know it
    values: int


def totals(rows: Iterable[CensusRow], versions: Iterable[KeyVersion]) -> list[Total]:
    """Add up per key version: the known ones first, then what else was found.

    A version that nothing is stored under counts 0, unless it is destroyed.
    """
    values: Counter[bytes | None] = Counter()
    for row in rows:
        values[row.version_id] += row.values
    known = [
        Total(version.version_id, version, values.pop(version.version_id, 0))
        for version in versions
        if version.state != KeyState.DESTROYED or version.version_id in values
    ]
    return known + [Total(version_id, None, values[version_id]) for version_id in values]


def census_content(
    rows: Iterable[CensusRow],
    totals: Iterable[Total],
    doubts: Iterable[NotCounted],
    further: FurtherWraps = MappingProxyType({}),
) -> dict[str, Any]:
    """Return a census as plain data, with further wraps of versions where they are given."""
    return {
        "rows": list(map(row_content, rows)),
        "totals": [total_content(total, further) for total in totals],
        "not_counted": list(map(asdict, doubts)),
    }


def row_content(row: CensusRow) -> dict[str, Any]:
    """Return how many values of a field there are under a key version."""
    return {
        **_column_content(row),
        **version_content(row.version_id, row.version),
        "values": row.values,
        "history": row.history,
        "is_index": row.is_index,
        "format": row.format,
    }


def total_content(total: Total, further: FurtherWraps) -> dict[str, Any]:
    """Return how many values there are under a key version, and what wraps that."""
    return {
        **version_content(total.version_id, total.version),
        "root_key": total.version.root_key if total.version else None,
        "wrapping_key_id": total.version.wrapping_key_id if total.version else None,
        "further_wraps": [wrap.content() for wrap in further.get(total.version_id or b"", ())],
        "values": total.values,
    }


def wrapped_by(versions: Iterable[KeyVersion], further: FurtherWraps) -> list[tuple[str, str, int]]:
    """Return how many key versions there are under each root key, and what it wrapped them with."""
    counts: Counter[tuple[str, str]] = Counter()
    for version in versions:
        if version.state != KeyState.DESTROYED:
            counts[version.root_key, version.wrapping_key_id] += 1
            for wrap in further.get(version.version_id, ()):
                counts[wrap.root_key, wrap.wrapping_key_id] += 1
    return [(*wrapping, number) for wrapping, number in sorted(counts.items())]


def copies_content(copies: TextCopies, version: KeyVersion) -> dict[str, Any]:
    """Return how many rows of a text column hold envelopes of a key version."""
    content = {**_column_content(copies), **version_content(copies.version_id, version)}
    return {**content, "rows": copies.rows}


def version_content(version_id: bytes | None, version: KeyVersion | None) -> dict[str, Any]:
    """Return which key version values are under: its fields are null where it is not known."""
    return {
        "version_id": version_id.hex() if version_id else None,
        "key": version.key_alias if version else None,
        "key_id": str(version.key_id) if version else None,
        "number": version.number if version else None,
        "state": version.state if version else None,
        "current": version.is_current if version else False,
    }


def _column_content(found: CensusRow | TextCopies) -> dict[str, Any]:
    return {
        "database": found.database,
        "schema": found.schema,
        "model": found.model,
        "field": found.field,
    }
