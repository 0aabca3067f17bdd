"""The triggers of an index while it is filled: made and dropped as its state says.

They are a help, and nothing depends on them: before lookups ask an index, every row is compared,
too. So a role that may not make triggers goes on without, and is told.
"""

import logging
from collections.abc import Callable
from typing import Any

from django.db import DatabaseError, connections

from envelope_fields.census.columns import Column, index_columns
from envelope_fields.census.indexes import tables_of_index
from envelope_fields.databases.errors import says_no_column, says_no_table, why_no_triggers
from envelope_fields.databases.index_triggers import (
    IndexedValues,
    IndexTriggers,
    TriggersImpossible,
    drop_all,
    index_triggers,
)
from envelope_fields.models import IndexState

_logger = logging.getLogger("envelope_fields.indexes")

# Afterwards none is needed: lookups ask the index, and what is stale is found by verification.
STANDING = (IndexState.FILLING, IndexState.VERIFIED)


def settle(index: Any, state: str, using: str | None = None) -> list[str]:
    """Make the triggers of an index, or drop them, as a state of it wants.

    Args:
        index: the field.
        state: an `IndexState`.
        using: in this database alone.

    Returns:
        What could not be done, for people; it is logged as a warning as well.

    Raises:
        CensusFailed: the tables of the index could not be looked up.
    """

    def act(triggers: IndexTriggers) -> None:
        # What empties an index that is right, too, would have every row compared in vain.
        is_verified = state == IndexState.VERIFIED and triggers.EMPTIES_ONLY_STALE
        if state == IndexState.FILLING or is_verified:
            triggers.make()
        else:
            triggers.drop()

    return _acted(index, "made" if state in STANDING else "dropped", act, using)


def settle_changed(label: str, state: str) -> list[str]:
    """Do what `settle` does for the index of a label, if it is declared."""
    declared: list[Any] = [column.field for column in index_columns()]
    index = next((each for each in declared if each.field_path == label), None)
    return [] if index is None else settle(index, state)


def drop_emptying(index: Any) -> list[str]:
    """Drop those triggers of an index that empty it where it is right, too; returns as `settle`.

    A row that was found right stays so from then on, unless one is made again.
    """

    def act(triggers: IndexTriggers) -> None:
        if not triggers.EMPTIES_ONLY_STALE:
            triggers.drop()

    return _acted(index, "dropped", act)


def emptied(index: Any) -> list[str]:
    """Return where triggers stand that empty an index where it is right, too.

    Raises:
        CensusFailed: the tables of the index could not be looked up.
        DatabaseError: a database could not be asked.
    """
    return [column.location for column in tables_of_index(index) if _is_emptied(index, column)]


def _is_emptied(index: Any, column: Column) -> bool:
    try:
        triggers = _triggers(index, column)
    except TriggersImpossible:
        return False  # none was made
    return not triggers.EMPTIES_ONLY_STALE and triggers.are_there()


def drop_before_migration(using: str) -> None:
    """Drop the triggers in a database: they name columns, which a migration may take away."""
    try:
        drop_all(using)
    except DatabaseError as error:
        _logger.warning(_note("the triggers of blind indexes", using, "dropped", error))


def _acted(
    index: Any, done: str, act: Callable[[IndexTriggers], None], using: str | None = None
) -> list[str]:
    notes = []
    for column in tables_of_index(index):
        if using not in (None, column.database):
            continue
        try:
            act(_triggers(index, column))
        except DatabaseError as error:
            if says_no_table(error) or says_no_column(error):
                continue  # a migration makes it, and they are made after that
            what = f"the triggers that empty {column.location} where it is stale"
            notes.append(_note(what, column.database, done, error))
            _logger.warning(notes[-1])
    return notes


def _triggers(index: Any, column: Column) -> IndexTriggers:
    quote = connections[column.database].ops.quote_name
    values = tuple(quote(source.field.column) for source in index.sources)
    found = IndexedValues(column.relation.schema, column.table_sql, column.column_sql, values)
    return index_triggers(column.database, found)


def _note(what: str, using: str, done: str, error: DatabaseError) -> str:
    is_ours = isinstance(error, TriggersImpossible)
    cause = str(error) if is_ours else why_no_triggers(error)
    return (
        f"In the database {using!r} {what} were not {done}: {cause}. Rows are compared all "
        "the same. It takes no lock of others on the table; on PostgreSQL the role that owns the "
        "table, and may create functions in its schema; on MariaDB the right TRIGGER, and with a "
        "binary log log_bin_trust_function_creators. `migrate` does it, too, where its role may."
    )
