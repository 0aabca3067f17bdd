"""How far conversions of columns are, known for as long as keys are.

A change is known at once in the process that makes it, and elsewhere within `KEY_CACHE_SECONDS`.
While a connection has changes of these rows that are not committed, it reads them each time.
"""

from django.db import DatabaseError, transaction

from envelope_fields.conf import configuration
from envelope_fields.databases.errors import says_no_table
from envelope_fields.exceptions import MasterKeyUnusable
from envelope_fields.keyring import cache, rows
from envelope_fields.keyring.age import uptime
from envelope_fields.models import ColumnConversion, ColumnPhase, ConversionKind


class Conversions:
    """Conversions of columns, as of one moment.

    Attributes:
        finished: the model and field of each that is finished.
        phases: of those from a column in clear, by model and field: of all tables that these have.
    """

    __slots__ = ("finished", "phases")

    def __init__(self) -> None:
        self.finished: set[tuple[str, str]] = set()
        self.phases: dict[tuple[str, str], ColumnPhase] = {}

    def any(self) -> bool:
        """Whether there is one at all."""
        return bool(self.finished or self.phases)

    def phase(self, model: str, field: str) -> ColumnPhase:
        """Return the phase of a field; it begins with the first, of which there may be no row."""
        return self.phases.get((model, field), ColumnPhase.CLEAR)


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
    using = configuration().database
    columns = ("model", "field", "kind", "phase", "finished_at")
    found = Conversions()
    try:
        with rows.explained(using), transaction.atomic(using=using):
            known = list(ColumnConversion.objects.using(using).values_list(*columns))
    except MasterKeyUnusable as error:
        if isinstance(error.__cause__, DatabaseError) and says_no_table(error.__cause__):
            return found  # a migration that comes before ours
        raise
    for model, field, kind, phase, finished_at in known:
        if ConversionKind(kind) is ConversionKind.COLUMN:  # or it would be in clear again
            found.phases[model, field] = ColumnPhase(phase)
        elif finished_at is not None:
            found.finished.add((model, field))
    return found
