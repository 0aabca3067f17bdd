"""Re-encrypt: a new data key and a new ciphertext, under the key that the field has now.

After a leak of a key version or of data keys, when a field gets another master key, or for a new
format: a rewrap would carry the old data key along. Which key a row's values belong under, the
field's `key=` says, asked as for a write.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from django.db import connections
from django.db.models import Field, Model, QuerySet

from envelope_fields.census.columns import Column
from envelope_fields.crypto import envelope, format as layout
from envelope_fields.crypto.envelope import UnwrapFailed, WrappingKey
from envelope_fields.databases import database
from envelope_fields.exceptions import EnvelopeError
from envelope_fields.fields import EncryptedFieldMixin
from envelope_fields.fields.keys import managed_by
from envelope_fields.jobs.job import Change, Job, Key, Outcome, Stored, stops
from envelope_fields.jobs.statements import statements
from envelope_fields.keyring.transfer import Transfer
from envelope_fields.models import DEFAULT_ALIAS


class ReEncrypt(Job):
    """Moves the values of a column; the plaintext is never decoded, and leaves no frame of ours.

    Arguments are those of `Rewrap`.
    """

    replaces_payload = True
    reads_payloads = True

    def __init__(self, column: Column, *, about_one_key: bool = True) -> None:
        field = column.encrypted_field
        self._contexts: tuple[bytes, ...] = field.contexts
        self._transfer = Transfer(column.database, field.field_path, managed_by(field.key))
        self._statements = statements(column)
        self._aliases = RowAliases(column)
        self._about_one_key = about_one_key

    def process(self, stored: Sequence[Stored]) -> Outcome:
        outcome, transfer = Outcome(), self._transfer
        transfer.begin({value.version_id for value in stored})
        if self._about_one_key:
            transfer.check_key(stored[0].version_id)  # all would fail alike
        aliases = self._aliases.of([value.key for value in stored])
        transfer.prepare({alias for alias in aliases.values() if isinstance(alias, str)})
        to_move = []
        for value in stored:
            try:
                if not self._about_one_key:
                    transfer.check_key(value.version_id)
                to = transfer.wrapping_key(_alias(aliases[value.key]))
            except Exception as error:  # a key= of the project may raise anything
                if self._stops(error) or (self._about_one_key and not self._aliases.differ):
                    raise
                outcome.fail(value, error)
                continue
            if value.head.startswith(to.header):
                outcome.kept += 1
            else:
                to_move.append((value, to))
        self._move(to_move, outcome)
        return outcome

    def may_still_write(self, since: float) -> bool:
        return self._transfer.may_still_write(since)

    def _stops(self, error: Exception) -> bool:
        return stops(error, about_one_key=self._about_one_key)

    def _move(self, to_move: list[tuple[Stored, WrappingKey]], outcome: Outcome) -> None:
        values = self._statements.values([value.key for value, _ in to_move]) if to_move else {}
        opened_under = Counter[bytes]()
        for value, wrapping_key in to_move:
            found = bytes(values.pop(value.key, None) or b"")
            if not found.startswith(value.head):
                continue  # another transaction wrote it, or deleted it
            try:
                new = self._re_encrypted(found, wrapping_key)
            except EnvelopeError as error:
                if self._stops(error):
                    raise
                outcome.fail(value, error)
                continue
            opened_under[value.version_id] += 1
            outcome.changes.append(Change(value.key, value.head, new))
        self._transfer.count(opened_under)

    def _re_encrypted(self, found: bytes, wrapping_key: WrappingKey) -> bytes:
        opened_by = self._transfer.unwrapping_key(found[: layout.DERIVATION_BYTES])
        for context in self._contexts:
            try:
                plaintext = envelope.decrypt(opened_by, found, context)
            except UnwrapFailed:
                continue
            try:
                return envelope.encrypt(wrapping_key, plaintext, self._contexts[0])
            finally:
                del plaintext  # error reports show the variables of each frame
        raise UnwrapFailed("its data key does not open: altered, or moved here from another place")


class RowNotLoaded(EnvelopeError):
    """The row is gone, or Django did not find it by its primary key."""


class RowAliases:
    """The aliases that the rows of a column write under.

    Attributes:
        differ: whether each row has its own.
    """

    def __init__(self, column: Column) -> None:
        self._column = column
        self._key = column.encrypted_field.key
        self._keys = column.model._meta.pk_fields
        self.differ = callable(self._key)

    def of(self, keys: Sequence[Key]) -> dict[Key, str | Exception]:
        """Return the alias for each of some primary keys, or why it could not be asked for.

        That is `RowNotLoaded`, `TypeError`, or what `key=` raises.
        """
        if not callable(self._key):
            return dict.fromkeys(keys, DEFAULT_ALIAS if self._key is None else self._key)
        relation = self._column.relation
        if relation.schema is None or relation.is_visible:
            return self._asked(keys)
        # In the schema, since what the callable asks is there, too. All are asked at once, so
        # that no other query goes there.
        with database(self._column.database).within(relation.schema):
            return self._asked(keys)

    def _asked(self, keys: Sequence[Key]) -> dict[Key, str | Exception]:
        rows, found = self._rows(keys), dict[Key, str | Exception]()
        for key in keys:
            try:
                found[key] = self._alias_of(rows, key)
            except Exception as error:  # a key= of the project may raise anything
                found[key] = error
        return found

    def _alias_of(self, rows: dict[Key, Model], key: Key) -> str:
        row = rows.get(self._as_loaded(key))
        if row is None:
            raise RowNotLoaded("The row could not be loaded to ask for the key of its values.")
        assert callable(self._key)  # noqa: S101 - or it is not asked
        chosen = self._key(row)
        if not isinstance(chosen, str):
            raise TypeError(f"key= returned {type(chosen).__name__} instead of an alias")
        return chosen

    def _rows(self, keys: Sequence[Key]) -> dict[Key, Model]:
        """Load the rows, without their encrypted values and past managers that hide some."""
        encrypted = [
            field.name
            for field in self._column.model._meta.concrete_fields
            if isinstance(field, EncryptedFieldMixin)
        ]
        wanted = [self._as_loaded(key) for key in keys]
        rows: QuerySet[Model] = QuerySet(self._column.model, using=self._column.database)
        found = rows.defer(*encrypted).filter(
            pk__in=wanted if len(self._keys) > 1 else [key for (key,) in wanted]
        )
        return {tuple(getattr(row, field.attname) for field in self._keys): row for row in found}

    def _as_loaded(self, key: Key) -> Key:
        """Return a key of the driver as Django makes it of a loaded row."""
        return tuple(map(self._converted, self._keys, key))

    def _converted(self, field: Field[Any, Any], item: Any) -> Any:
        connection = connections[self._column.database]
        column = field.get_col(self._column.model._meta.db_table)
        converters = connection.ops.get_db_converters(column) + column.get_db_converters(connection)
        for convert in converters:
            item = convert(item, column, connection)
        return item


def _alias(found: str | Exception) -> str:
    if isinstance(found, Exception):
        raise found
    return found
