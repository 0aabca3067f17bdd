"""What a run would do, about how long it would take, and what none moves; nothing is written."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from time import perf_counter

from envelope_fields.census.columns import Column
from envelope_fields.census.values import counted
from envelope_fields.census.versions import Key
from envelope_fields.databases import database as database_of
from envelope_fields.jobs.limits import BATCH_SIZE
from envelope_fields.jobs.statements import statements
from envelope_fields.models import RotationKind
from envelope_fields.rotation.scope import RotationScope, chosen_columns, scope


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


@dataclass(frozen=True, slots=True)
class PlainValues:
    """The values of a field that are no envelopes, such as plaintext from before: none is moved.

    Attributes:
        database: the alias in `DATABASES`.
        schema: the schema of the table, as the census has it.
        field: `app_label.Model.field`.
        values: how many there are, at least 1.
        cause: what they are.
    """

    database: str
    schema: str | None
    field: str
    values: int
    cause: str = "not an envelope"


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
    wanted = scope(kind, [key], versions, fields, database)
    found = []
    for column in wanted.columns():
        values = wanted.count(column).total()
        if values:
            seconds = values * _seconds_a_value(column, wanted)
            found.append(Forecast(column.database, str(column), values, seconds, column.schema))
    return found


def plain_values(fields: Sequence[str] = (), database: str = "") -> list[PlainValues]:
    """Count the values that are no envelopes; arguments are those of `start`.

    Raises:
        NoSuchField: no encrypted field has such a name.
        CensusFailed: a column could not be counted.
    """
    return [
        PlainValues(column.database, column.schema, str(column), group.values)
        for column in chosen_columns(fields, database)
        for group in counted(column, history=False)
        if group.version_id is None
    ]


def _seconds_a_value(column: Column, wanted: RotationScope) -> float:
    """Try it with the first batch, without writing."""
    ask, job, version_ids = statements(column), wanted.job(column), wanted.version_ids(column)
    began = perf_counter()
    stored = ask.heads(version_ids, None, None, BATCH_SIZE)
    some = [value for value in stored if value.version_id in version_ids]
    if some:
        job.process(some)
    took = perf_counter() - began
    return took / max(len(stored), 1) * database_of(column.database).WITH_WRITING
