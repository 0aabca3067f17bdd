"""Verification: every stored value is read and decrypted, as the application would read it.

What a rewrap does not look at, this does: payloads, values of unknown versions, and what is no
envelope at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import inf
from time import monotonic
from typing import Any

from django.db import DatabaseError, transaction

from envelope_fields.census.columns import Column
from envelope_fields.crypto import format as layout
from envelope_fields.databases import database as database_of
from envelope_fields.databases.errors import says_no_table
from envelope_fields.exceptions import (
    EnvelopeError,
    MalformedEnvelope,
    MasterKeyNotFound,
    RootKeyUnavailable,
)
from envelope_fields.fields.errors import named
from envelope_fields.fields.masks import Mask
from envelope_fields.keyring.rows import no_version, version_ids
from envelope_fields.rotation import primary_keys
from envelope_fields.rotation.portions import BYTES_AT_ONCE
from envelope_fields.rotation.scope import chosen_columns
from envelope_fields.rotation.statements import Key, Statements, statements

ROWS_AT_ONCE = 1000
SECONDS_BETWEEN_LOOKS = 1


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A stored value that cannot be read.

    Attributes:
        database: the alias in `DATABASES`.
        field: `app_label.Model.field`.
        row: the primary key, as text.
        version_id: the key version that it names, in hexadecimal; empty if it is no envelope.
        cause: the class of the error.
        message: the error; it tells nothing of the value.
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
    versions = _Versions()
    for column in chosen_columns(fields, database):
        if not _has_table(column):
            continue  # models may live in more databases than they do
        database_of(column.database).refuse_hidden(column.table_sql)
        for values in _values(statements(column)):
            found = [
                _unreadable(column, key, value, error)
                for key, value in values
                if (error := _error(column, value, versions)) is not None
            ]
            yield Verified(column, len(values), found)


def _has_table(column: Column) -> bool:
    try:
        with transaction.atomic(using=column.database):
            statements(column).sizes(None, 1)
    except DatabaseError as error:
        if not says_no_table(error):
            raise
        return False
    return True


def _values(ask: Statements) -> Iterator[list[tuple[Key, Any]]]:
    """Yield the values of a column in the order of their keys, not too many bytes at once."""
    after: Key | None = None
    while sizes := ask.sizes(after, ROWS_AT_ONCE):
        size, upto = 0, 0
        for upto, (_, length) in enumerate(sizes, start=1):  # noqa: B007 - used after
            size += length
            if size >= BYTES_AT_ONCE:
                break
        keys = [key for key, _ in sizes[:upto]]
        after = keys[-1]
        found = ask.values(keys)
        yield [(key, found[key]) for key in keys if found.get(key) is not None]


class _Versions:
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


def _error(column: Column, value: Any, versions: _Versions) -> EnvelopeError | None:
    try:
        versions.check(value)
    except MasterKeyNotFound as error:
        return named(column.field, error)
    except MalformedEnvelope:
        pass  # reading it says so
    try:
        read = column.encrypted_field.verifier(value, None, None)
    except EnvelopeError as error:
        if isinstance(error, RootKeyUnavailable) or isinstance(_cause(error), DatabaseError):
            raise  # that is about no value, and met with each
        return error
    return EnvelopeError(f"{column}: you may not read it.") if isinstance(read, Mask) else None


def _cause(error: BaseException) -> BaseException:
    """Return what an error comes from, in the first place but for the driver."""
    while isinstance(error, EnvelopeError) and error.__cause__ is not None:
        error = error.__cause__
    return error


def _unreadable(column: Column, key: Key, value: Any, error: EnvelopeError) -> Unreadable:
    try:
        version_id = layout.parse(value).version_id.hex()
    except MalformedEnvelope:
        version_id = ""
    return Unreadable(
        database=column.database,
        field=str(column),
        row=primary_keys.shown(key),
        version_id=version_id,
        cause=type(error).__name__,
        message=str(error),
        schema=column.schema,
    )
