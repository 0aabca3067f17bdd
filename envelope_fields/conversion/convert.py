"""The jobs by which a value in another package's format becomes an envelope.

In its own column, or in that of the field, where the package has stored it in one beside.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import connections

from envelope_fields.census.columns import Column
from envelope_fields.conversion.moving import Compare, FieldJob
from envelope_fields.conversion.pairs import Pair
from envelope_fields.crypto import envelope
from envelope_fields.exceptions import EnvelopeError, MalformedEnvelope
from envelope_fields.fields.legacy.base import LegacyFormat, is_envelope
from envelope_fields.fields.legacy.reading import format_of, marked
from envelope_fields.fields.prepared import Unencrypted
from envelope_fields.fields.validation import refusing
from envelope_fields.fields.writing import guarded
from envelope_fields.jobs.job import Change, Key, Outcome, Stored
from envelope_fields.jobs.statements import Statements, statements
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
        self._pairs.refuse_unread(pair)
        reader = _reader(self._field, marked(pair.old))
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


class Convert(FieldJob):
    """Writes envelopes in the place of what another package has stored in a column.

    Whole values are compared: what the application, or an old build of it, has written since is
    left as it is.
    """

    compares_values = True

    def __init__(self, column: Column) -> None:
        super().__init__(column)
        self._plaintext_of = refusing(self._field, guarded(self._field))
        self._statements = statements(column)
        self._time_zone = connections[column.database].timezone

    def process(self, stored: Sequence[Stored]) -> Outcome:
        others = [value for value in stored if not is_envelope(value.head)]
        outcome = super().process(others) if others else Outcome()
        outcome.kept += len(stored) - len(others)
        return outcome

    def _begin(self, keys: Sequence[Key]) -> Mapping[Key, Any]:
        self._transfer.begin()
        self._aliases.load(keys, self._transfer)
        values = self._statements.values(keys)
        return {key: each for key, each in values.items() if not is_envelope(each)}

    def _change(self, key: Key, read: Any) -> Change:
        to = self._transfer.wrapping_key(self._aliases.of_row(key))
        reader = _reader(self._field, read)
        # No name here holds the value: an error report would show it.
        new = envelope.encrypt(
            to,
            self._plaintext_of(
                Unencrypted(reader.read(read, self._field, self._time_zone).value, None)
            ),
            self._rows.contexts(key)[0],
        )
        return Change(key, read, new)


def _reader(field: Any, stored: Any) -> LegacyFormat:
    reader = format_of(field, stored)
    if reader is None:
        raise MalformedEnvelope(f"{field}: no reader of the field claims it")
    return reader
