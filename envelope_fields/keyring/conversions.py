"""How far conversions of columns are, known for as long as keys are.

A change is known at once in the process that makes it, and elsewhere within `KEY_CACHE_SECONDS`.
While a connection has changes of these rows that are not committed, it reads them each time.

The audit trail is the second witness: a row that was lost, or changed past us, would have values be
written in clear of which there are only envelopes.
"""

from collections.abc import Iterable
from typing import Any

from django.db import DatabaseError, transaction

from envelope_fields.conf import configuration
from envelope_fields.databases.errors import says_no_table
from envelope_fields.exceptions import MasterKeyUnusable
from envelope_fields.keyring import cache, rows
from envelope_fields.keyring.age import uptime
from envelope_fields.models import (
    AuditEvent,
    AuditOutcome,
    ColumnConversion,
    ColumnPhase,
    ConversionKind,
)

CHANGE, RENAME, FORGET = "change_conversion_phase", "rename_conversion", "forget_conversion"


class Conversions:
    """Conversions of columns, as of one moment.

    Attributes:
        finished: the model and field of each that is finished.
        phases: of those from a column in clear, by model and field: of all tables that these have.
        recorded: the phases that the audit trail says these were brought to last.
    """

    __slots__ = ("finished", "phases", "recorded")

    def __init__(self) -> None:
        self.finished: set[tuple[str, str]] = set()
        self.phases: dict[tuple[str, str], ColumnPhase] = {}
        self.recorded: dict[tuple[str, str], ColumnPhase] = {}

    def any(self) -> bool:
        """Whether there is one at all."""
        return bool(self.finished or self.phases)

    def phase(self, model: str, field: str) -> ColumnPhase:
        """Return the phase of a field; it begins with the first, of which there may be no row.

        `MasterKeyUnusable` where the audit trail says that it was further.
        """
        found = self.phases.get((model, field), ColumnPhase.CLEAR)
        recorded = self.recorded.get((model, field), found)
        if found.number < recorded.number:
            raise MasterKeyUnusable(
                f"The conversion of {model}.{field} is {found!s} by its row, or has none, and the "
                f"audit trail says that it was brought to {recorded!s}: it was changed in the "
                "database, and values would be written in clear again. Put the row of "
                f"{ColumnConversion._meta.db_table} back: model {model!r}, field {field!r}, kind "
                f"{ConversionKind.COLUMN.value!r}, phase {recorded.value!r}."
            )
        return found

    def lags(self) -> bool:
        """Whether a row is not as far as the audit trail says."""
        first = ColumnPhase.CLEAR
        return any(
            self.phases.get(name, first).number < recorded.number
            for name, recorded in self.recorded.items()
        )


def conversion_phase(model: str, field: str) -> ColumnPhase:
    """Return the phase of a field, of `app_label.Model`, in the place of a column in clear."""
    return known_conversions().phase(model, field)


def is_finished(model: str, field: str) -> bool:
    """Whether the conversion of a field is finished, so that nothing but envelopes is read."""
    return (model, field) in known_conversions().finished


def known_conversions() -> Conversions:
    """Return how far conversions are, as it is known in this process.

    Raises:
        MasterKeyUnusable: the keys' database could not be read.
    """
    # For every value: by the table of the process, as long as keys are taken from that.
    table = cache.known.table
    if table.conversions is None or cache.uncommitted or uptime() >= table.deadline:
        table = cache.current_table()  # maybe of this transaction, which sees the past
        if table.conversions is None or uptime() >= table.deadline:
            table.conversions = conversions_now()
    found: Conversions = table.conversions
    return found


def conversions_now() -> Conversions:
    """Return how far conversions are, read now; errors as above, also of an unknown kind."""
    found = _read()
    # A change may have been committed between one statement and the next.
    return _read() if found.lags() else found


def _read() -> Conversions:
    using = configuration().database
    columns = ("model", "field", "kind", "phase", "finished_at")
    found, known = Conversions(), list[Any]()
    try:
        with rows.explained(using), transaction.atomic(using=using):
            known = list(ColumnConversion.objects.using(using).values_list(*columns))
            events = AuditEvent.objects.using(using).filter(
                action__in=(CHANGE, RENAME, FORGET), outcome=AuditOutcome.DONE
            )
            found.recorded = _recorded(events.order_by("number").values_list("action", *_SAID))
    except MasterKeyUnusable as error:
        # A migration comes before ours; where there are rows, the table of events alone is gone.
        is_before = isinstance(error.__cause__, DatabaseError) and says_no_table(error.__cause__)
        if known or not is_before:
            raise
    for model, field, kind, phase, finished_at in known:
        if ConversionKind(kind) is ConversionKind.COLUMN:  # or it would be in clear again
            found.phases[model, field] = ColumnPhase(phase)
        elif finished_at is not None:
            found.finished.add((model, field))
    return found


_SAID = ("before", "after")


def _recorded(events: Iterable[tuple[str, Any, Any]]) -> dict[tuple[str, str], ColumnPhase]:
    """Return the phases of fields, by their present names, that events say they were brought to."""
    phases: dict[str, Any] = {}
    for action, before, after in events:
        was, is_now = (each if isinstance(each, dict) else {} for each in (before, after))
        if action == CHANGE:
            phases[str(is_now.get("field"))] = is_now.get("phase")
            continue
        phase = phases.pop(str(was.get("field")), None)
        if action == RENAME:
            phases[str(is_now.get("field"))] = phase
    named = ((label.rpartition("."), phase) for label, phase in phases.items())
    return {
        (model, field): ColumnPhase(phase)
        for (model, _, field), phase in named
        if phase in ColumnPhase.values
    }
