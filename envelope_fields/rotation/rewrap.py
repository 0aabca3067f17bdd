"""Rewrap: the same data key under the current version of the same master key (KMS: ReEncrypt).

The payload is neither read nor changed, so the cost does not depend on the size of a value.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from uuid import UUID

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.core.exceptions import ImproperlyConfigured

from envelope_fields.census.columns import Column
from envelope_fields.crypto import format as layout
from envelope_fields.crypto.envelope import Rewrapper, UnwrapFailed
from envelope_fields.exceptions import EnvelopeError
from envelope_fields.jobs.job import Change, Job, Outcome, Stored, stops
from envelope_fields.keyring.moving import Transfer

_DERIVATION = slice(layout.DERIVATION_BYTES)
_VERSION_ID = slice(1, layout.HEADER_BYTES)


class Rewrap(Job):
    """Moves the values of a column, and binds their data keys to the field's present context.

    Args:
        column: the column.
        about_one_key: whether all values are under one master key. Where they are under several,
            and one cannot be used, its values fail, and those under the others are moved.
    """

    def __init__(self, column: Column, *, about_one_key: bool = True) -> None:
        field = column.encrypted_field
        self._contexts = field.contexts
        self._transfer = Transfer(column.database, field.place)
        self._about_one_key = about_one_key

    def process(self, stored: Sequence[Stored]) -> Outcome:
        self._transfer.begin()
        outcome, opened_under = Outcome(), Counter[bytes]()
        if self._about_one_key:  # if its current version is unusable, no value can be moved
            key_id = self._transfer.key_of(stored[0].version_id)
            self._rewrap(stored, key_id, outcome, opened_under)
        else:
            self._rewrap_by_key(stored, outcome, opened_under)
        self._transfer.count(opened_under)
        return outcome

    def may_still_write(self, since: float) -> bool:
        return self._transfer.may_still_write(since)

    def _rewrap_by_key(
        self, stored: Sequence[Stored], outcome: Outcome, opened_under: Counter[bytes]
    ) -> None:
        self._transfer.prepare({value.version_id for value in stored})
        for key_id, values in self._by_key(stored, outcome).items():
            try:
                self._rewrap(values, key_id, outcome, opened_under)
            except (EnvelopeError, ImproperlyConfigured) as error:
                self._fail(values, error, outcome)
        order = {value.key: number for number, value in enumerate(stored)}
        outcome.changes.sort(key=lambda change: order[change.key])

    def _by_key(self, stored: Sequence[Stored], outcome: Outcome) -> dict[UUID, list[Stored]]:
        found = defaultdict(list)
        for value in stored:
            try:
                found[self._transfer.key_of(value.version_id)].append(value)
            except EnvelopeError as error:
                self._fail([value], error, outcome)
        return found

    def _fail(self, values: Iterable[Stored], error: Exception, outcome: Outcome) -> None:
        if stops(error, about_one_key=self._about_one_key):
            raise error
        for value in values:
            outcome.fail(value, error)

    def _rewrap(
        self,
        stored: Sequence[Stored],
        key_id: UUID,
        outcome: Outcome,
        opened_under: Counter[bytes],
    ) -> None:
        """Rewrap values under the current version of their one master key."""
        to = self._transfer.wrapping_key(key_id)
        with Rewrapper(to, self._contexts[0], len(stored)) as rewrapper:
            part = self._rewrapped(stored, rewrapper, to.header)
        outcome.changes += part.changes
        outcome.failed += part.failed
        outcome.kept += part.kept
        opened_under.update(change.head[_VERSION_ID] for change in part.changes)

    def _rewrapped(self, stored: Sequence[Stored], rewrapper: Rewrapper, header: bytes) -> Outcome:
        present = self._contexts[0]
        rewrap, opens = rewrapper.rewrap, self._transfer.unwrapping_key
        outcome = Outcome()
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
                self._fail([value], error, outcome)
                continue
            if is_kept:
                outcome.kept += 1
            else:
                outcome.changes.append(Change(value.key, head, new))
        return outcome

    def _from_previous(self, opened_by: AESGCM, head: bytes, rewrapper: Rewrapper) -> bytes:
        """Rewrap what was written under an earlier name of the field."""
        for context in self._contexts[1:]:
            try:
                return rewrapper.rewrap(opened_by, head, context)
            except UnwrapFailed:
                continue
        raise UnwrapFailed("its data key does not open: altered, or moved here from another place")
