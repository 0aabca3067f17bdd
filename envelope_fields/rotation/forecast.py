"""What a run would do, and about how long it would take; nothing is written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from time import perf_counter

from django.db import connections

from envelope_fields.census import count_versions
from envelope_fields.census.columns import Column
from envelope_fields.census.versions import Key, of_key
from envelope_fields.models import RotationKind
from envelope_fields.rotation.batches import mover
from envelope_fields.rotation.limits import BATCH_SIZE
from envelope_fields.rotation.scope import chosen_columns, scope
from envelope_fields.rotation.statements import statements

# How much longer a batch takes than to read and to wrap it: that it is written is most of the
# work. As measured by bench/rotation.py; a machine with slow disks takes longer.
_WITH_WRITING = {"postgresql": 4.0, "mysql": 5.0, "sqlite": 1.6}


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is to be done in one field.

    Attributes:
        database: the alias in `DATABASES`.
        field: `app_label.Model.field`.
        values: how many would be looked at.
        seconds: about how long one process takes, as tried with some of them.
        schema: the schema of the table, as the census has it.
    """

    database: str
    field: str
    values: int
    seconds: float
    schema: str | None = None


def forecast(
    key: Key,
    *,
    kind: str = RotationKind.REWRAP,
    versions: Iterable[int] = (),
    fields: Iterable[str] = (),
    database: str = "",
) -> list[Forecast]:
    """Return what `start` with these arguments would do; fields without work are left out.

    Raises:
        EnvelopeError, ImproperlyConfigured: as `start` and `run` do.
    """
    wanted = scope(RotationKind(kind), of_key(key), versions)
    found = []
    for column in chosen_columns(fields, database):
        version_ids = wanted.version_ids(column)
        values = count_versions(column, version_ids)
        if values:
            seconds = values * _seconds_a_value(column, wanted.kind, version_ids)
            found.append(Forecast(column.database, str(column), values, seconds, column.schema))
    return found


def _seconds_a_value(column: Column, kind: str, version_ids: list[bytes]) -> float:
    """Try it with the first batch, without writing."""
    ask = statements(column)
    moves = mover(column, kind, ask)
    began = perf_counter()
    stored = ask.heads(version_ids, None, None, BATCH_SIZE)
    some = [value for value in stored if value.version_id in version_ids]
    if some:
        moves.moves(some)
    took = perf_counter() - began
    return took / max(len(stored), 1) * _WITH_WRITING.get(connections[column.database].vendor, 1)
