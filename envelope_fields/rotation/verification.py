"""Verification: every stored value is read and decrypted, as the application would read it.

What a rewrap does not look at, this does: payloads, values of unknown versions, and what is not
an envelope at all.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import inf
from time import monotonic
from typing import Any

from django.db import DatabaseError

from envelope_fields.census.columns import Column
from envelope_fields.crypto import format as layout
from envelope_fields.databases.tables import has_table
from envelope_fields.exceptions import (
    EnvelopeError,
    MalformedEnvelope,
    MasterKeyNotFound,
    RootKeyUnavailable,
)
from envelope_fields.fields.errors import named
from envelope_fields.fields.masks import Mask
from envelope_fields.jobs import job
from envelope_fields.jobs.batches import Batches
from envelope_fields.jobs.statements import statements
from envelope_fields.jobs.throttle import Limits
from envelope_fields.keyring.rows import no_version, version_ids
from envelope_fields.rotation.rows import UNBOUND, BoundRows, starting_with
from envelope_fields.rotation.scope import chosen_columns

ROWS_AT_ONCE = 1000
SECONDS_BETWEEN_LOOKS = 1


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A stored value that cannot be read.

    Attributes:
        database: the alias in `DATABASES`.
        field: `app_label.Model.field`.
        row: the primary key, as text.
        version_id: the key version that it names, in hexadecimal; empty if it is not an envelope.
        cause: the class of the error.
        message: the error; it says nothing of the value.
        schema: the schema of the table, as the census has it.
    """

    database: str
    field: str
    row: str
    version_id: str
    cause: str
    message: str
    schema: str | None = None


@dataclass(frozen=True, slots=True)
class Verified:
    """What became of a batch: how many values were read, and those that could not be."""

    column: Column
    values: int
    unreadable: list[Unreadable]


def verify(fields: Iterable[str] = (), database: str = "") -> Iterator[Verified]:
    """Read every stored value of the encrypted fields, batch by batch, and drop it.

    Args:
        fields: `app_label.Model.field`, or `app_label.Model`; by default all.
        database: only values in this one of `DATABASES`.

    Raises:
        NoSuchField: no encrypted field has such a name.
        ImproperlyConfigured: a root key is missing.
        RootKeyUnavailable: one cannot be reached now.
        MasterKeyUnusable: the keys' database cannot.
        RowsHidden: rows of a table are hidden from this role.
        Error: another database cannot.
    """
    versions = KnownVersions()
    for column in chosen_columns(fields, database):
        if not has_table(column.table_sql, column.database):
            continue  # models may live in more databases than they do
        batches = Batches(column, Verification(column, versions), Limits(batch_size=ROWS_AT_ONCE))
        for result in batches.between(None, None, None):
            unreadable = [_unreadable(column, each) for each in result.failed]
            yield Verified(column, result.kept + len(unreadable), unreadable)


class KnownVersions:
    """The key versions that there are: asking for each value that names another takes long."""

    def __init__(self) -> None:
        self._known: set[bytes] = set()
        self._asked_at = -inf

    def check(self, value: Any) -> None:
        """Raise if a value names a key version that there is not.

        Raises:
            MalformedEnvelope: it names none.
            MasterKeyNotFound: there is none of that id.
            MasterKeyUnusable: the keys' database could not be read.
        """
        version_id = layout.parse(value).version_id
        # One that is made meanwhile is met soon after.
        if version_id not in self._known and monotonic() >= self._asked_at + SECONDS_BETWEEN_LOOKS:
            self._known = version_ids()
            self._asked_at = monotonic()
        if version_id not in self._known:
            raise no_version(version_id)


class Verification(job.Job):
    """Reads the values of a column, and changes none.

    Args:
        versions: the key versions that are known.
    """

    writes = False
    reads_payloads = True

    def __init__(self, column: Column, versions: KnownVersions) -> None:
        self._column = column
        self._versions = versions
        self._statements = statements(column)
        self._rows = BoundRows(column)

    def process(self, stored: Sequence[job.Stored]) -> job.Outcome:
        outcome, keys = job.Outcome(), [each.key for each in stored]
        self._rows.load(keys)  # before the values, which are looked at by the heads from before
        values = self._statements.all_values(keys)
        for each in stored:
            present = values[each.key]
            value = starting_with(each.head, present) or next(iter(present), None)
            if value is None or (self._rows and not _begins_with(value, each.head)):
                continue  # it was deleted meanwhile, or written with the rest of its row
            error = self._error(value, each.key)
            if error is None:
                outcome.kept += 1
            else:
                outcome.fail(each, error)
        return outcome

    def _error(self, value: Any, key: job.Key) -> EnvelopeError | None:
        column = self._column
        try:
            self._versions.check(value)
        except MasterKeyNotFound as error:
            return named(column.field, error)
        except MalformedEnvelope:
            pass  # reading it says so
        try:
            read = self._read(value, key)
        except UNBOUND as error:
            return EnvelopeError(f"{column}: its row has what no value can be bound to: {error}")
        except EnvelopeError as error:
            if isinstance(error, RootKeyUnavailable) or isinstance(_cause(error), DatabaseError):
                raise  # that is about no value, and met with each
            return error
        return EnvelopeError(f"{column}: you may not read it.") if isinstance(read, Mask) else None

    def _read(self, value: Any, key: job.Key) -> Any:
        column = self._column
        if self._rows:
            return column.encrypted_field.verify(value, self._rows.contexts(key))
        return column.encrypted_field.verifier(value, None, None)


def _begins_with(value: Any, head: bytes) -> bool:
    return isinstance(value, str) or bytes(value).startswith(head)


def _cause(error: BaseException) -> BaseException:
    """Return what an error comes from, in the first place but for the driver."""
    while isinstance(error, EnvelopeError) and error.__cause__ is not None:
        error = error.__cause__
    return error


def _unreadable(column: Column, failed: job.Failed) -> Unreadable:
    head = failed.stored.head
    is_envelope = head.startswith(column.codec.marker)
    names_version = is_envelope and failed.stored.size >= column.codec.shortest
    return Unreadable(
        database=column.database,
        field=str(column),
        row=job.displayed_key(failed.stored.key),
        version_id=failed.stored.version_id.hex() if names_version else "",
        cause=failed.cause,
        message=failed.message,
        schema=column.schema,
    )
