"""How many rows of a column that moves have what, and how long it takes to go over them."""

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from django.db import DatabaseError, connections

from envelope_fields.census.columns import CensusFailed, Column
from envelope_fields.conf import configuration
from envelope_fields.conversion.moving import Compare, Fill
from envelope_fields.conversion.phases import ConversionRefused
from envelope_fields.databases import Kind, database
from envelope_fields.databases.errors import advice
from envelope_fields.databases.leftovers import Leftover, leftovers
from envelope_fields.databases.tables import has_column, has_table
from envelope_fields.jobs.job import Wanted
from envelope_fields.jobs.statements import statements
from envelope_fields.jobs.throttle import NICE_RATIO
from envelope_fields.models import ColumnPhase
from envelope_fields.rotation.scope import chosen_columns

_SAMPLE = 500  # rows of a table
_WITHOUT_SAMPLE = 50e-6  # seconds a row, where the key of each would have to be made


@dataclass(frozen=True, slots=True)
class Counted:
    """How many rows of a field have what, counted now in all its tables."""

    clear: int  # the old column has a value
    envelopes: int  # the new one has
    remaining: int  # one of them has, and not the other

    @property
    def rows(self) -> int:
        """How many have something in either."""
        return (self.clear + self.envelopes + self.remaining) // 2


def counted(field: Any) -> Counted:
    """Count the rows of a field, or raise `CensusFailed`: all tables have to show all rows."""
    columns = tables(str(field))
    _refuse_unmigrated(field, columns)
    found = [counted_in(column) for column in columns]
    return Counted(*map(sum, zip(*found, strict=True))) if found else Counted(0, 0, 0)


def refuse_emptied(field: Any) -> None:
    """Return if the old column can say what the new one is to hold; `CensusFailed` as above.

    Only the phase `only` empties it. Where another one is known by now, an earlier state of the
    keys was restored, say, and to fill or to compare would take every value away.

    Raises:
        ConversionRefused: no row has a value in clear, and there are envelopes.
    """
    found = counted(field)
    if found.envelopes and not found.clear:
        raise ConversionRefused(
            f"{field}: no row has a value in the old column, and this would take away what is in "
            f"the new one (envelopes: {found.envelopes:,}). The field was {ColumnPhase.ONLY}, and "
            "its row of ColumnConversion is gone or was restored from before: load the later one, "
            "or set its phase. Only if these values are to be gone, set the new column to NULL."
        )


def tables(label: str) -> list[Column]:
    """Return the columns of a field that are there, in all databases and schemas."""
    columns = chosen_columns([label])
    return [column for column in columns if has_table(column.table_sql, column.database)]


def _refuse_unmigrated(field: Any, columns: Sequence[Column]) -> None:
    """Raise if a schema has the table of a field, and not its new column yet.

    Its values would not be found in the new column, which every table is in the phase of.
    """
    there = {(column.database, column.relation.schema) for column in columns}
    for using in {column.database for column in columns}:
        ask, quote = database(using), connections[using].ops.quote_name
        wanted = configuration().schemas.of(using)
        for each in ask.tables([quote(field.model._meta.db_table)]):
            is_other = each.schema in wanted and (using, each.schema) not in there
            if is_other and each.kind is Kind.TABLE and not each.ancestors:
                table_sql = ask.quote(each.schema, each.table)
                if has_column(table_sql, quote(field.plain_field.column), using):
                    raise CensusFailed(
                        f"{field}: the table {each} in the database {using!r} does not have its "
                        "new column. Migrate that schema first; or name the schemas that count "
                        'in ENVELOPE_FIELDS["SCHEMAS"].'
                    )


def still_in_clear(field: Any) -> list[Leftover]:
    """Return where values of the old column, which is empty, may still be in databases.

    Statistics of the planner are made anew, since they show values.
    """
    found = []
    for column in tables(str(field)):
        column_sql = connections[column.database].ops.quote_name(field.plain_field.column)
        found += leftovers(column.database, column.table_sql, column_sql)
    return list(dict.fromkeys(found))


def counted_in(column: Column) -> list[int]:
    """Count the rows of a table: with a value in clear, with an envelope, with one alone."""
    field: Any = column.encrypted_field
    conditions = ("{old} IS NOT NULL", "{new} IS NOT NULL", Fill.condition)
    try:
        with database(column.database).seeing_all_rows():
            return statements(column).count_where(conditions, str(field.plain_field.column))
    except DatabaseError as error:
        raise CensusFailed(
            f"{column} and {field.plain_field.name} could not be counted in the database "
            f"{column.database!r} ({type(error).__name__}). "
            f"{advice(error, column.database, 'Is it migrated, and may this role see all rows?')}"
        ) from error


def seconds_to_fill(field: Any, found: Counted) -> float:
    """Return about how many seconds it takes to fill what is left."""
    seconds = (_seconds(each) * database(each.database).WITH_WRITING for each in tables(str(field)))
    return found.remaining * max(seconds, default=0)


def seconds_to_compare(field: Any, found: Counted) -> float:
    """Return about how many seconds it takes to open and compare all rows once."""
    return found.rows * max(map(_seconds, tables(str(field))), default=0)


def _seconds(column: Column) -> float:
    """Return how long a row of a table takes to be read and encrypted, or opened, with rests."""
    if callable(column.encrypted_field.key):
        return _WITHOUT_SAMPLE
    job, began = Compare(column), perf_counter()
    rows = job.stored(statements(column), Wanted(None, None, None, _SAMPLE))
    if not rows:
        return 0
    job.process(rows)
    return (perf_counter() - began) / len(rows) * (1 + NICE_RATIO)
