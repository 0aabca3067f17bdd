"""Re-encrypt: a new data key and a new ciphertext, under the key that the field has now.

After a leak of a key version or of data keys, when a field gets another master key, or for a new
format: a rewrap would carry the old data key along.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from envelope_fields.census.columns import Column
from envelope_fields.crypto import envelope
from envelope_fields.crypto import format as layout
from envelope_fields.crypto.envelope import UnwrapFailed, WrappingKey
from envelope_fields.exceptions import EnvelopeError
from envelope_fields.fields.row_keys import managed_by
from envelope_fields.keyring.moving import Transfer
from envelope_fields.rotation.moves import Moves, stops
from envelope_fields.rotation.row_aliases import RowAliases
from envelope_fields.rotation.statements import Change, Statements, Stored


class ReEncrypt:
    """Moves the values of a column; the plaintext is never decoded, and leaves no frame of ours."""

    whole = True

    def __init__(self, column: Column, statements: Statements) -> None:
        field = column.encrypted_field
        self._contexts: tuple[bytes, ...] = field.contexts
        self._transfer = Transfer(column.database, field.place)
        self._statements = statements
        self._aliases = RowAliases(column)
        self._managed_by = managed_by(field.key)

    def moves(self, stored: Sequence[Stored]) -> Moves:
        self._transfer.begin()
        self._transfer.check_key(stored[0].version_id)  # all are under one, and would fail alike
        moves, to_move = Moves(), []
        alias_of = self._aliases.of([value.key for value in stored])
        for value in stored:
            try:
                to = self._transfer.wrapping_key(alias_of(value.key), self._managed_by)
            except Exception as error:  # a key= of the project may raise anything
                if stops(error) or not self._aliases.differ:
                    raise
                moves.fail(value, error)
                continue
            if value.head.startswith(to.header):
                moves.kept += 1
            else:
                to_move.append((value, to))
        self._move(to_move, moves)
        return moves

    def may_still_write(self, since: float) -> bool:
        return self._transfer.may_still_write(since)

    def _move(self, to_move: list[tuple[Stored, WrappingKey]], moves: Moves) -> None:
        values = self._statements.values([value.key for value, _ in to_move]) if to_move else {}
        opened_under = Counter[bytes]()
        for value, wrapping_key in to_move:
            found = bytes(values.pop(value.key, None) or b"")
            if not found.startswith(value.head):
                continue  # somebody else wrote it, or deleted it
            try:
                new = self._re_encrypted(found, wrapping_key)
            except EnvelopeError as error:
                if stops(error):
                    raise
                moves.fail(value, error)
                continue
            opened_under[value.version_id] += 1
            moves.changes.append(Change(value.key, value.head, new))
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
