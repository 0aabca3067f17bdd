"""Rewrap: the same data key under the current version of the same master key (KMS: ReEncrypt).

The payload is neither read nor changed, so the cost does not depend on the size of a value.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.core.exceptions import ImproperlyConfigured

from envelope_fields.census.columns import Column
from envelope_fields.crypto import format as layout
from envelope_fields.crypto.envelope import Rewrapper, UnwrapFailed
from envelope_fields.exceptions import EnvelopeError
from envelope_fields.jobs.job import VERSION_ID, Change, Job, Outcome, Stored, stops
from envelope_fields.jobs.statements import statements
from envelope_fields.keyring.rows import rolled_back_with
from envelope_fields.keyring.table import WRAPS_PER_PREFIX
from envelope_fields.keyring.transfer import Transfer
from envelope_fields.rotation.rows import UNBOUND, BoundRows, starting_with

_DERIVATION = slice(layout.DERIVATION_BYTES)
_UNWRAP_FAILED = "its data key does not open: altered, or moved here from another place"
READY_AT_ONCE = 10_000
# Wraps of a nonce prefix that are set aside for a version, so that not each batch asks for some.
_SET_ASIDE = WRAPS_PER_PREFIX // 4

_Rewrap = Callable[..., bytes]  # given what `Rewrapper.rewrap` is given


@dataclass(slots=True)
class _Target:
    """What the values of a key version are rewrapped by, or the error that each of them meets."""

    rewrapper: Rewrapper | None = None  # wraps their data keys
    wraps: float = 0  # how many more of them may have its nonce prefix
    error: Exception | None = None


class Rewrap(Job):
    """Moves the values of a column, and binds their data keys to the field's present context.

    Args:
        about_one_key: whether all values are under one master key. Where they are under several,
            and one cannot be used, its values fail, and those under the others are moved.
    """

    replaces_heads = True

    def __init__(self, column: Column, *, about_one_key: bool = True) -> None:
        field = column.encrypted_field
        # What is bound to a row has contexts of its own.
        self._contexts = (b"",) if field.is_bound else field.contexts
        goes_with = rolled_back_with(field.model, column.database)
        self._transfer = Transfer(goes_with, field.field_path)
        self._about_one_key = about_one_key
        self._first: Rewrapper | None = None  # of which all others are made
        self._targets: dict[bytes, _Target] = {}  # by the ids of versions
        # By the first 21 bytes of values: what opens their data keys, what wraps them anew, and the
        # header that they have then.
        self._ready: dict[bytes, tuple[AESGCM, _Rewrap, bytes]] = {}

    def process(self, stored: Sequence[Stored]) -> Outcome:
        values = Counter(value.head[VERSION_ID] for value in stored)
        is_changed = self._transfer.begin(values)
        if is_changed:
            self._targets.clear()
            self._first = None  # it has a key, too
        if is_changed or len(self._ready) > READY_AT_ONCE:
            self._ready.clear()
        if self._first is not None:
            self._first.announce(len(stored))
        for version_id, count in values.items():
            target = self._targets.get(version_id)
            if target is None or target.wraps < count:
                target = self._prepared(target or _Target(), version_id, count, len(stored))
            target.wraps -= count
        try:
            outcome = self._rewrapped(stored)
        finally:
            if self._first is not None:
                self._first.__exit__()  # leaves no data key of the batch behind
        if len(outcome.changes) < len(stored):
            values = Counter(change.head[VERSION_ID] for change in outcome.changes)
        self._transfer.count(values)
        return outcome

    def may_still_write(self, since: float) -> bool:
        return self._transfer.may_still_write(since)

    def _prepared(self, target: _Target, version_id: bytes, count: int, values: int) -> _Target:
        """Have a target rewrap so many values of a version, of those that are announced."""
        self._targets[version_id] = target
        wraps = max(count, _SET_ASIDE)
        try:
            to = self._transfer.wrapping_key(self._transfer.key_of(version_id), values=wraps)
        except (EnvelopeError, ImproperlyConfigured) as error:
            if self._about_one_key or stops(error, about_one_key=False):
                raise  # no value can be moved
            target.error, target.wraps = error, inf
            return target
        target.wraps = wraps
        if target.rewrapper is not None:
            target.rewrapper.use(to)
        elif self._first is not None:
            target.rewrapper = self._first.under(to)
        else:
            target.rewrapper = self._first = Rewrapper(to, self._contexts[0], values)
        return target

    def _rewrapped(self, stored: Sequence[Stored]) -> Outcome:
        outcome, present = Outcome(), self._contexts[0]
        ready_for, ready = self._ready.get, self._make_ready
        derivation = b"\0"  # no envelope begins so
        for value in stored:  # the path of every value, so it is written flat
            head = value.head
            try:
                if not head.startswith(derivation):  # mostly that of the last
                    found = head[_DERIVATION]
                    opened_by, rewrap, header = ready_for(found) or ready(found)
                    derivation = found
                try:
                    new = rewrap(opened_by, head, present)
                    is_kept = head.startswith(header)
                except UnwrapFailed:
                    new = self._from_previous(opened_by, head, rewrap)
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

    def _make_ready(self, derivation: bytes) -> tuple[AESGCM, _Rewrap, bytes]:
        opened_by = self._transfer.unwrapping_key(derivation)
        target = self._targets[derivation[VERSION_ID]]
        if target.rewrapper is None:
            raise (target.error or AssertionError()).with_traceback(None)
        made = opened_by, target.rewrapper.rewrap, target.rewrapper.header
        self._ready[derivation] = made
        return made

    def _from_previous(self, opened_by: AESGCM, head: bytes, rewrap: _Rewrap) -> bytes:
        """Rewrap what was written under an earlier name of the field."""
        for context in self._contexts[1:]:
            try:
                return rewrap(opened_by, head, context)
            except UnwrapFailed:
                continue
        raise UnwrapFailed(_UNWRAP_FAILED)


class RewrapInRows(Rewrap):
    """Moves values that are bound to columns of their rows; arguments are those of `Rewrap`."""

    locks_rows = True

    def __init__(self, column: Column, *, about_one_key: bool = True) -> None:
        super().__init__(column, about_one_key=about_one_key)
        self._rows = BoundRows(column)
        self._statements = statements(column)

    def unmoved(self, changes: Sequence[Change]) -> Sequence[Change]:
        return self._rows.unmoved(changes)

    def _rewrapped(self, stored: Sequence[Stored]) -> Outcome:
        outcome, failed = Outcome(), list[tuple[Stored, Exception]]()
        self._rows.load([value.key for value in stored])
        for value in stored:
            try:
                contexts = self._rows.contexts(value.key)
                new = self._rewrapped_in_row(value.head, contexts)
            except (EnvelopeError, ImproperlyConfigured, *UNBOUND) as error:
                if stops(error, about_one_key=self._about_one_key):
                    raise
                failed.append((value, error))
                continue
            if new is None:
                outcome.kept += 1
            else:
                outcome.changes.append(Change(value.key, value.head, new))
        # A row that another transaction has written since has not failed.
        still = self._statements.all_values([value.key for value, _ in failed]) if failed else {}
        for value, problem in failed:
            if starting_with(value.head, still[value.key]):
                outcome.fail(value, problem)
        return outcome

    def _rewrapped_in_row(self, head: bytes, contexts: Sequence[bytes]) -> bytes | None:
        derivation, present = head[_DERIVATION], contexts[0]
        opened_by, rewrap, header = self._ready.get(derivation) or self._make_ready(derivation)
        for context in contexts:
            try:
                new = rewrap(opened_by, head, context, present)
            except UnwrapFailed:
                continue
            return None if context is present and head.startswith(header) else new
        raise UnwrapFailed(_UNWRAP_FAILED)
