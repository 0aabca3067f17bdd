"""Rewrap: the same data key under the current version of the same master key (KMS: ReEncrypt).

The payload is neither read nor changed, so the cost does not depend on the size of a value.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from envelope_fields.census.columns import Column
from envelope_fields.crypto import format as layout
from envelope_fields.crypto.envelope import Rewrapper, UnwrapFailed
from envelope_fields.exceptions import EnvelopeError
from envelope_fields.keyring.moving import Transfer
from envelope_fields.rotation.moves import Moves, stops
from envelope_fields.rotation.statements import Change, Stored

_DERIVATION = slice(layout.DERIVATION_BYTES)
_VERSION_ID = slice(1, layout.HEADER_BYTES)


class Rewrap:
    """Moves the values of a column, and binds their data keys to the field's present context."""

    whole = False

    def __init__(self, column: Column) -> None:
        field = column.encrypted_field
        self._contexts = field.contexts
        self._transfer = Transfer(column.database, field.place)

    def moves(self, stored: Sequence[Stored]) -> Moves:
        self._transfer.begin()
        # All are under one master key; if its current version is unusable, none can be moved.
        to = self._transfer.wrapping_key(self._transfer.key_of(stored[0].version_id))
        with Rewrapper(to, self._contexts[0], len(stored)) as rewrapper:
            return self._moves(stored, rewrapper, to.header)

    def _moves(self, stored: Sequence[Stored], rewrapper: Rewrapper, header: bytes) -> Moves:
        present = self._contexts[0]
        rewrap, opens = rewrapper.rewrap, self._transfer.unwrapping_key
        moves, opened_under = Moves(), Counter[bytes]()
        derivation, opened_by = b"", None
        for value in stored:  # the path of every value, so it is written flat
            head = value.head
            try:
                if opened_by is None or not head.startswith(derivation):  # mostly that of the last
                    opened_by = opens(head[_DERIVATION])
                    derivation = head[_DERIVATION]
                try:
                    new = rewrap(opened_by, head, present)
                    is_kept = head.startswith(header)
                except UnwrapFailed:
                    new = self._from_previous(opened_by, head, rewrapper)
                    is_kept = False
            except EnvelopeError as error:
                if stops(error):
                    raise
                moves.fail(value, error)
                continue
            if is_kept:
                moves.kept += 1
                continue
            opened_under[head[_VERSION_ID]] += 1
            moves.changes.append(Change(value.key, head, new))
        self._transfer.count(opened_under)
        return moves

    def may_still_write(self, since: float) -> bool:
        return self._transfer.may_still_write(since)

    def _from_previous(self, opened_by: AESGCM, head: bytes, rewrapper: Rewrapper) -> bytes:
        """Rewrap what was written under an earlier name of the field."""
        for context in self._contexts[1:]:
            try:
                return rewrapper.rewrap(opened_by, head, context)
            except UnwrapFailed:
                continue
        raise UnwrapFailed("its data key does not open: altered, or moved here from another place")
