"""Re-encrypt: a new data key and a new ciphertext, under the key that the field has now.

After a leak of a key version or of data keys, when a field gets another master key, or for a new
format: a rewrap would carry the old data key along. Which key a row's values belong under, the
field's `key=` says, asked as for a write.
"""

from collections import Counter
from collections.abc import Sequence

from envelope_fields.census.columns import Column
from envelope_fields.crypto import envelope, format as layout
from envelope_fields.crypto.envelope import UnwrapFailed, WrappingKey
from envelope_fields.exceptions import EnvelopeError
from envelope_fields.jobs.job import Change, Outcome, Stored, stops
from envelope_fields.jobs.statements import statements
from envelope_fields.rotation.rows import UNBOUND, RowsJob, starting_with


class ReEncrypt(RowsJob):
    """Moves the values of a column; the plaintext is never decoded, and leaves no frame of ours.

    Arguments are those of `Rewrap`.
    """

    replaces_heads = True
    replaces_payload = True
    reads_payloads = True

    def __init__(self, column: Column, *, about_one_key: bool = True) -> None:
        super().__init__(column)
        self._was_bound_otherwise = bool(column.encrypted_field.previous_bindings)
        self._statements = statements(column)
        self._about_one_key = about_one_key

    def process(self, stored: Sequence[Stored]) -> Outcome:
        outcome, transfer = Outcome(), self._transfer
        transfer.begin({value.version_id for value in stored})
        if self._about_one_key:
            transfer.check_key(stored[0].version_id)  # all would fail alike
        self._aliases.load([value.key for value in stored], transfer)
        to_move = []
        for value in stored:
            try:
                if not self._about_one_key:
                    transfer.check_key(value.version_id)
                to = transfer.wrapping_key(self._aliases.of_row(value.key))
            except Exception as error:  # a key= of the project may raise anything
                if self._stops(error) or (self._about_one_key and not self._aliases.differ):
                    raise
                outcome.fail(value, error)
                continue
            if value.head.startswith(to.header) and not self._was_bound_otherwise:
                outcome.kept += 1
            else:
                to_move.append((value, to))
        self._move(to_move, outcome)
        return outcome

    def _stops(self, error: Exception) -> bool:
        return stops(error, about_one_key=self._about_one_key)

    def _move(self, to_move: list[tuple[Stored, WrappingKey]], outcome: Outcome) -> None:
        keys = [value.key for value, _ in to_move]
        self._rows.load(keys)  # before the values, which are looked at by the heads from before
        values = self._statements.all_values(keys) if keys else {}
        opened_under = Counter[bytes]()
        for value, wrapping_key in to_move:
            found = starting_with(value.head, values[value.key]) or b""
            if not found:
                continue  # another transaction wrote it, or deleted it
            try:
                new = self._re_encrypted(found, self._rows.contexts(value.key), wrapping_key)
            except (EnvelopeError, *UNBOUND) as error:
                if self._stops(error):
                    raise
                outcome.fail(value, error)
                continue
            if new is None:
                outcome.kept += 1
                continue
            opened_under[value.version_id] += 1
            outcome.changes.append(Change(value.key, value.head, new))
        self._transfer.count(opened_under)

    def _re_encrypted(
        self, found: bytes, contexts: Sequence[bytes], wrapping_key: WrappingKey
    ) -> bytes | None:
        """Return a value encrypted anew; None where it is what it would become."""
        opened_by = self._transfer.unwrapping_key(found[: layout.DERIVATION_BYTES])
        for context in contexts:
            try:
                plaintext = envelope.decrypt(opened_by, found, context)
            except UnwrapFailed:
                continue
            try:
                if context is contexts[0] and found.startswith(wrapping_key.header):
                    return None
                return envelope.encrypt(wrapping_key, plaintext, contexts[0])
            finally:
                del plaintext  # error reports show the variables of each frame
        raise UnwrapFailed("its data key does not open: altered, or moved here from another place")
