"""Rewrap: the same data key under the current version of the same master key (KMS: ReEncrypt).

The payload is neither read nor changed, so the cost does not depend on the size of a value.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.core.exceptions import ImproperlyConfigured

from envelope_fields.census.columns import Column
from envelope_fields.crypto import format as layout
from envelope_fields.crypto.envelope import Rewrapper, UnwrapFailed
from envelope_fields.exceptions import EnvelopeError
from envelope_fields.jobs.job import Change, Job, Outcome, Stored, stops
from envelope_fields.keyring.transfer import WRAPS_PER_PREFIX, Transfer

_DERIVATION = slice(layout.DERIVATION_BYTES)
_VERSION_ID = slice(1, layout.HEADER_BYTES)
READY_AT_ONCE = 10_000


class Target(NamedTuple):
    """What the values of a version are rewrapped by, and the header that they have then."""

    rewrapper: Rewrapper
    header: bytes


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
        self._transfer = Transfer(column.database, field.field_path)
        self._targets = _Targets(self._transfer, self._contexts[0])
        self._about_one_key = about_one_key
        # By the first 21 bytes of values: what opens their data keys, and their target.
        self._ready: dict[bytes, tuple[AESGCM, Rewrapper, bytes]] = {}

    def process(self, stored: Sequence[Stored]) -> Outcome:
        values = Counter(value.head[_VERSION_ID] for value in stored)
        if self._targets.begin(values) or len(self._ready) > READY_AT_ONCE:
            self._ready.clear()
        if self._about_one_key:  # if its current version is unusable, no value can be moved
            self._targets.of(stored[0].version_id)
        else:
            self._transfer.prepare(values)
        try:
            outcome = self._rewrapped(stored)
        finally:
            self._targets.end()
        self._transfer.count(Counter(change.head[_VERSION_ID] for change in outcome.changes))
        return outcome

    def may_still_write(self, since: float) -> bool:
        return self._transfer.may_still_write(since)

    def _rewrapped(self, stored: Sequence[Stored]) -> Outcome:
        outcome, present = Outcome(), self._contexts[0]
        ready_for, ready = self._ready.get, self._make_ready
        derivation = b"\0"  # no envelope begins so
        for value in stored:  # the path of every value, so it is written flat
            head = value.head
            try:
                if not head.startswith(derivation):  # mostly that of the last
                    found = head[_DERIVATION]
                    opened_by, rewrapper, header = ready_for(found) or ready(found)
                    derivation, rewrap = found, rewrapper.rewrap
                try:
                    new = rewrap(opened_by, head, present)
                    is_kept = head.startswith(header)
                except UnwrapFailed:
                    new = self._from_previous(opened_by, head, rewrapper)
                    is_kept = False
            except (EnvelopeError, ImproperlyConfigured) as error:
                if stops(error, about_one_key=self._about_one_key):
                    raise
                outcome.fail(value, error)
                continue
            if is_kept:
                outcome.kept += 1
            else:
                outcome.changes.append(Change(value.key, head, new))
        return outcome

    def _make_ready(self, derivation: bytes) -> tuple[AESGCM, Rewrapper, bytes]:
        opened_by = self._transfer.unwrapping_key(derivation)
        target = self._targets.of(derivation[_VERSION_ID])
        made = self._ready[derivation] = (opened_by, target.rewrapper, target.header)
        return made

    def _from_previous(self, opened_by: AESGCM, head: bytes, rewrapper: Rewrapper) -> bytes:
        """Rewrap what was written under an earlier name of the field."""
        for context in self._contexts[1:]:
            try:
                return rewrapper.rewrap(opened_by, head, context)
            except UnwrapFailed:
                continue
        raise UnwrapFailed("its data key does not open: altered, or moved here from another place")


class _Targets:
    """The targets of versions, found out as values need them, and kept as long as their keys are.

    Args:
        transfer: has their keys.
        context: what data keys will be bound to.
    """

    def __init__(self, transfer: Transfer, context: bytes) -> None:
        self._transfer = transfer
        self._context = context
        self._found: dict[bytes, Target | Exception] = {}
        self._wrapped: dict[bytes, int] = {}
        self._first: Rewrapper | None = None
        self._values = 0

    def begin(self, values: Counter[bytes]) -> bool:
        """Begin a batch, with so many values under each version; return whether any target went."""
        is_gone = self._transfer.begin()
        if is_gone:
            self._found.clear()
        self._values = values.total()
        if self._first is not None:
            self._first.announce(self._values)
        for version_id, count in values.items():
            wrapped = self._wrapped.get(version_id, 0) + count
            if wrapped > WRAPS_PER_PREFIX:  # it takes another nonce prefix
                is_gone = self._found.pop(version_id, None) is not None or is_gone
            self._wrapped[version_id] = wrapped if version_id in self._found else count
        return is_gone

    def of(self, version_id: bytes) -> Target:
        """Return the target of the values under a version.

        Raises:
            EnvelopeError, ImproperlyConfigured: the current version of its key cannot be used.
        """
        found = self._found.get(version_id)
        if found is None:
            try:
                found = self._new(version_id)
            except (EnvelopeError, ImproperlyConfigured) as error:
                found = error
            self._found[version_id] = found
        if isinstance(found, Exception):
            raise found
        return found

    def end(self) -> None:
        """Leave no data key of the batch behind."""
        if self._first is not None:
            self._first.__exit__()

    def _new(self, version_id: bytes) -> Target:
        key_id = self._transfer.key_of(version_id)
        to = self._transfer.wrapping_key(key_id, values=WRAPS_PER_PREFIX)
        if self._first is None:
            self._first = rewrapper = Rewrapper(to, self._context, self._values)
        else:
            rewrapper = self._first.under(to)
        return Target(rewrapper, to.header)
