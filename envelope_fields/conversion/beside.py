"""The job: what another package has stored beside a field becomes envelopes in its own column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import connections

from envelope_fields.census.columns import Column
from envelope_fields.conversion.moving import Compare
from envelope_fields.conversion.pairs import Pair
from envelope_fields.exceptions import EnvelopeError, MalformedEnvelope
from envelope_fields.fields.legacy.beside import marked
from envelope_fields.fields.legacy.reading import format_of
from envelope_fields.fields.prepared import Unencrypted
from envelope_fields.jobs.job import Change, Key
from envelope_fields.jobs.statements import Statements
from envelope_fields.keyring.conversions import conversions_now


class ConvertBeside(Compare):
    """Writes an envelope where the other column has a value, and NULL in the place of that.

    Also where there is an envelope: every write of ours empties the other column, so that an old
    build has written later.
    """

    condition = "{old} IS NOT NULL"

    def __init__(self, column: Column) -> None:
        super().__init__(column)
        self._time_zone = connections[column.database].timezone

    def _change(self, key: Key, pair: Pair) -> Change | None:
        return None if pair.old is None else Change(key, b"", self._encrypted(key, self._old(pair)))

    def _old(self, pair: Pair) -> Unencrypted:
        reader = format_of(self._field, marked(pair.old))
        if reader is None:
            raise MalformedEnvelope(f"{self._field}: no reader of the field claims it")
        # No name here holds the value: an error report would show it.
        return Unencrypted(reader.read(pair.old, self._field, self._time_zone).value, None)

    def _refuse_other_phase(self) -> None:
        name: Any = self._field.model._meta.label, self._field.name
        if name in conversions_now().finished:
            raise EnvelopeError(f"{self._field}: the conversion of this column is finished.")

    def write(self, ask: Statements, changes: Sequence[Change]) -> int:
        # An index is of the envelope that was there: what the other package writes is in none.
        indexed = [change.key for change in changes if self._read[change.key].new is not None]
        written = ask.write_values(changes)
        ask.clear(self._pairs.names[:1], [change.key for change in changes])
        if self._indexes and indexed:
            ask.clear(self._indexes, indexed)
        return written
