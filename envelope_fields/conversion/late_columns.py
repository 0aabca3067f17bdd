"""A column that is added when the others of its field are encrypted already.

A tenant's schema is made later, or migrated later, or restored as it was before the move. Its
values in clear would be passed over, and written over, from the migration on. So they are encrypted
by that.
"""

from typing import Any

from django.db import connections
from django.db.models import Model

from envelope_fields.census.columns import Column
from envelope_fields.conversion.moving import Empty, Fill
from envelope_fields.conversion.phases import ConversionRefused
from envelope_fields.jobs.batches import Batches
from envelope_fields.jobs.job import Failed
from envelope_fields.jobs.throttle import Limits
from envelope_fields.migrating import moves
from envelope_fields.models import ColumnPhase
from envelope_fields.policy import APPLICATION, acting_as


def fill(model: type[Model], name: str, phase: ColumnPhase, using: str) -> None:
    """Encrypt what a table has in clear, as the phase wants it.

    Args:
        model: with its table, as the migration has it.
        name: of the encrypted field.
        phase: of the field: encrypted values are read.
        using: the alias of the database.

    Raises:
        ConversionRefused: values cannot be encrypted; the message has the first of them.
    """
    field: Any = model._meta.get_field(name)
    quote = connections[using].ops.quote_name
    column = Column(
        database=using, model=model, field=field,
        table_sql=quote(model._meta.db_table), column_sql=quote(str(field.column)),
    )  # fmt: skip
    job = Fill(column) if phase.writes_old else Empty(column)
    with acting_as(APPLICATION):
        batches = list(Batches(column, job, Limits()).between(None, None, None))
    _refuse_failed(field, [each for batch in batches for each in batch.failed])


def _refuse_failed(field: Any, failed: list[Failed]) -> None:
    if failed:
        first = failed[0]
        raise ConversionRefused(
            f"{field} is encrypted, and {len(failed):,} values in clear of a table that is "
            f"migrated now could not be: {first.stored.key[0]}: {first.cause}: {first.message} "
            "Mend these rows, and migrate again."
        )


def register() -> None:
    """Have migrations encrypt what they find."""
    moves.fill_late_columns_by(fill)
