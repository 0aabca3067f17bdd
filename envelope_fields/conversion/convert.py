"""The jobs, and their runs: a value in another package's format becomes an envelope.

In its own column, or in that of the field, where the package has stored it in one beside.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from envelope_fields.census.columns import Column
from envelope_fields.census.values import counted
from envelope_fields.conversion.moving import Compare
from envelope_fields.conversion.pairs import Pair
from envelope_fields.conversion.phases import ConversionRefused, Phase, begin, keys_of, standing
from envelope_fields.crypto import envelope
from envelope_fields.databases import database
from envelope_fields.exceptions import EnvelopeError, MalformedEnvelope
from envelope_fields.fields.keys import managed_by
from envelope_fields.fields.legacy.base import LegacyFormat, is_envelope
from envelope_fields.fields.legacy.beside import marked
from envelope_fields.fields.legacy.reading import format_of
from envelope_fields.fields.prepared import Unencrypted
from envelope_fields.fields.validation import refusing
from envelope_fields.fields.writing import guarded
from envelope_fields.jobs import job
from envelope_fields.jobs.job import Change, Job, Key, Outcome, Stored, stops
from envelope_fields.jobs.runs import active_runs, insert, record, resume
from envelope_fields.jobs.statements import Statements, statements
from envelope_fields.jobs.throttle import Limits
from envelope_fields.jobs.work import Watcher, unwatched, work
from envelope_fields.keyring.conversions import conversions_now, is_finished
from envelope_fields.keyring.transfer import Transfer
from envelope_fields.lifecycle.context import key_transaction
from envelope_fields.models import RotationKind, RotationRun, RotationState
from envelope_fields.policy import Action, require_on_each
from envelope_fields.rotation.re_encrypt import RowAliases
from envelope_fields.rotation.rows import BoundRows
from envelope_fields.rotation.scope import chosen_columns


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


class Convert(Job):
    """Writes envelopes in the place of what another package has stored in a column.

    Whole values are compared: what the application, or an old build of it, has written since is
    left as it is.

    Args:
        column: the column.
    """

    replaces_payload = True
    reads_payloads = True
    compares_values = True

    def __init__(self, column: Column) -> None:
        field: Any = column.encrypted_field
        self._field = field
        self._rows = BoundRows(column)
        self._plaintext_of = refusing(field, guarded(field))
        self._transfer = Transfer(column.database, field.field_path, managed_by(field.key))
        self._statements = statements(column)
        self._aliases = RowAliases(column)
        self._time_zone = connections[column.database].timezone

    def process(self, stored: Sequence[Stored]) -> Outcome:
        outcome = Outcome()
        others = [value for value in stored if not is_envelope(value.head)]
        outcome.kept = len(stored) - len(others)
        if not others:
            return outcome
        self._transfer.begin()
        keys = [value.key for value in others]
        aliases = self._aliases.of(keys)
        self._rows.load(keys)  # before the values, which may be of other rows by then
        self._transfer.prepare({alias for alias in aliases.values() if isinstance(alias, str)})
        values = self._statements.values(keys)
        for value in others:
            found = values.pop(value.key, None)
            if found is None or is_envelope(found):
                continue  # it was deleted meanwhile, or the application has written one
            try:
                new = self._converted(value.key, found, aliases[value.key])
            except Exception as error:  # a key= of the project may raise anything
                if self._stops(error):
                    raise
                outcome.fail(_without_value(value.key), error)
            else:
                outcome.changes.append(Change(value.key, found, new))
        return outcome

    def may_still_write(self, since: float) -> bool:
        return self._transfer.may_still_write(since)

    @property
    def locks_rows(self) -> bool:  # type: ignore[override]
        return bool(self._rows)

    def unmoved(self, changes: Sequence[Change]) -> Sequence[Change]:
        return self._rows.unmoved(changes)

    def _converted(self, key: Key, found: Any, alias: str | Exception) -> bytes:
        if isinstance(alias, Exception):
            raise alias
        to, context = self._transfer.wrapping_key(alias), self._rows.contexts(key)[0]
        reader = _reader(self._field, found)
        # No name here holds the value: an error report would show it.
        return envelope.encrypt(
            to,
            self._plaintext_of(
                Unencrypted(reader.read(found, self._field, self._time_zone).value, None)
            ),
            context,
        )

    def _stops(self, error: Exception) -> bool:
        is_about_keys = stops(error, about_one_key=not self._aliases.differ)
        return is_about_keys or isinstance(error, ImproperlyConfigured)


def _reader(field: Any, stored: Any) -> LegacyFormat:
    reader = format_of(field, stored)
    if reader is None:
        raise MalformedEnvelope(f"{field}: no reader of the field claims it")
    return reader


def _without_value(key: Key) -> Stored:
    """Return where a value is, and nothing of what it is."""
    return Stored(key, b"", 0)


class ConversionScope(job.Scope):
    """What a run converts: a field, in all databases and schemas.

    Args:
        label: `app_label.Model.field`.
    """

    most_passes = 3
    why_some_stay = (
        "are left that could be converted: others held locks on their rows, or an old build still "
        "writes them. Stop that, and run it again."
    )

    def __init__(self, label: str) -> None:
        self._label = label

    def columns(self) -> list[Column]:
        return chosen_columns([self._label])

    def version_ids(self, column: Column) -> None:
        return None  # every value is looked at: those in other formats name no key version

    def count(self, column: Column) -> Counter[UUID | None]:
        remaining = [group for group in counted(column, history=False) if group.version_id is None]
        return Counter({None: sum(group.values for group in remaining)})

    def count_remaining(self, column: Column) -> Counter[UUID | None]:
        return self.count(column)

    def sees_only_by_looking(self, column: Column) -> bool:
        return False

    def job(self, column: Column) -> Job:
        field: Any = column.encrypted_field
        if is_finished(column.model._meta.label, column.field.name):
            raise EnvelopeError(f"{field}: the conversion of this column is finished.")
        return ConvertBeside(column) if field.reads_beside else Convert(column)


def register() -> None:
    """Say what runs of our kind are about."""
    job.register(RotationKind.CONVERT, scope_of)


def scope_of(run: RotationRun) -> ConversionScope:
    """Return what a run converts."""
    [label] = run.only_fields
    return ConversionScope(label)


# -- Runs ------------------------------------------------------------------------------------------


def start(field: Any, *, limits: Limits | None = None, actor: Any = None) -> RotationRun:
    """Make a run that converts a field, to be worked on; or return the one that is not over.

    Args:
        field: the field, as `convertible` returns it.
        limits: what it asks of databases at most.
        actor: on whose behalf; None is the current principal. Needs the right to re-encrypt, then
            and while the run goes on.

    Raises:
        ConversionRefused: the conversion is finished.
        KeyAccessDenied: the actor may not.
    """
    if standing(field).phase == Phase.FINISHED:
        raise ConversionRefused(f"The conversion of {field} is finished: nothing converts it.")
    with key_transaction() as using:
        database(using).lock_for_writing(RotationRun._meta.db_table)
        keys = keys_of(field, using)
        principal = require_on_each(Action.RE_ENCRYPT, keys, actor, using=using)
        under_way = active_run(field)
        if under_way is not None:
            return under_way
        started = RotationRun(
            kind=RotationKind.CONVERT,
            only_fields=[str(field)],
            limits=(limits or Limits()).nicely().as_json(),
        )
        insert(started, keys, principal, using, holds=False)  # rotations go on
        begin(field, using)
        record("start_conversion", started, principal, using, after={"field": str(field)})
    return started


def run(begun: RotationRun, *, watch: Watcher = unwatched) -> RotationRun:
    """Work on a run in this process until it is over; one that was paused goes on.

    Raises:
        EnvelopeError: the run cannot go on, and is failed.
        Error: the database failed, and it was not for a reason that passes.
    """
    return work(resume(begun) if begun.state == RotationState.PAUSED else begun, watch)


def active_run(field: Any) -> RotationRun | None:
    """Return the run that converts a field and is not over."""
    runs = active_runs().filter(kind=RotationKind.CONVERT)
    return next((each for each in runs if each.only_fields == [str(field)]), None)
