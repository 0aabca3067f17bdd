"""Values in encrypted columns that are not envelopes: nobody moves them, and nobody reads them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from envelope_fields.census.values import counted
from envelope_fields.rotation.scope import chosen_columns


@dataclass(frozen=True, slots=True)
class PlainValues:
    """The values of a field that are no envelopes, such as plaintext from before.

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


def plain_values(fields: Iterable[str] = (), database: str = "") -> list[PlainValues]:
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
