"""What a loaded value keeps of the keyring: whom it opens for without asking, and until when.

A handle holds no key. It names the key version as it was known when the object was loaded, and
the principal whom the policy admitted then. It ends with the table that it was made from: with
eviction, with a refusal, with a change of a key, of grants or of users, and with time.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any
from weakref import WeakSet

from asgiref.sync import SyncToAsync
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from envelope_fields.conf import configuration
from envelope_fields.crypto import format as layout
from envelope_fields.crypto.envelope import UnwrapFailed, decrypt_bound
from envelope_fields.exceptions import EnvelopeError
from envelope_fields.keyring import cache, materials
from envelope_fields.keyring.age import uptime
from envelope_fields.keyring.cache import known, table_to_load_by, uncommitted
from envelope_fields.keyring.rows import KeyRow
from envelope_fields.keyring.table import HANDLES, Table
from envelope_fields.keyring.uses import READ_FIELD, counted, this_thread
from envelope_fields.keyring.values import DERIVATION, decrypt, decrypted, derived, known_key
from envelope_fields.models import key_changes
from envelope_fields.policy import decisions
from envelope_fields.policy.attempts import Attempt
from envelope_fields.policy.data import KeyPolicy
from envelope_fields.policy.decisions import Verdict
from envelope_fields.policy.principals import Principal, bound_actor, current_principal
from envelope_fields.policy.requests import in_flight

# For keys that every principal may use it is never looked up who that is.
_ANY_PRINCIPAL = "any"
_UNBOUND, _UNBOUND_IN_REQUEST = "unbound", "unbound in a request"

_Wanted = tuple[bytes, bytes, str]  # version id, context and field path


class Handle:
    """A key version, and whom the policy admitted to it when a value was loaded.

    Attributes:
        table: what was known of keys then; the handle lives as long as that is valid.
        policy_data: what was known of users and grants then; None in a transaction that sees the
            past.
        admitted: the principal whom the policy admitted, by its key; None if it was unbound.
        may_open: whether the one who loaded may open values; perhaps for a time, by a grant that
            ends, so that the policy is asked each time.
        additional_data: what data keys of the field are wrapped with: header and context.
    """

    __slots__ = (
        "_loaded_by", "additional_data", "admitted", "may_open", "policy_data", "row",
        "serves_everybody", "table",
    )  # fmt: skip

    def __init__(self, table: Table, row: KeyRow, context: bytes, field_path: str) -> None:
        policy_data = table.policy_data
        self.table = table
        self.row = row
        self.additional_data = row.header + context
        # What is known in a transaction that sees the past is valid in that alone: see `opens`.
        self.policy_data = None if table.is_of_transaction else policy_data
        self._loaded_by: Principal | None = None
        policy = row.policy
        self.serves_everybody = policy.serves_everybody
        attempt = Attempt(READ_FIELD.action, row.state.key_id, row.state.alias, field_path)
        row.state.check(READ_FIELD.action)
        self.admitted: str | None
        if bound_actor() is None:
            is_open = policy.serves_unbound_code and not in_flight
            self.admitted = _ANY_PRINCIPAL if is_open else None
        elif self.serves_everybody:
            self.admitted = _ANY_PRINCIPAL
        else:
            # A login changes who is behind an actor, and that refers to its request.
            self._loaded_by = current_principal()
            answer = decisions.foreseen(attempt, policy, policy_data, configuration().database)
            self.admitted = decisions.known_actor() if answer is Verdict.ALLOWED else None
            self.may_open = answer is not Verdict.REFUSED
            return
        self.may_open = self.admitted is not None

    def opens(self) -> bool:
        """Whether it opens values for the caller, with nothing to ask."""
        table = self.table
        if uptime() >= table.deadline:
            return False
        if self.policy_data is not table.policy_data and not (
            self.policy_data is None and cache.holds(table)
        ):
            return False
        # Where none is bound, it opens for the principal who was admitted.
        return self.admitted is not None if bound_actor() is None else self.admits()

    def admits(self) -> bool:
        """Whether the principal who is bound is the one who was admitted, or any may be."""
        if self.serves_everybody:
            return True
        return self.admitted is not None and self.admitted == decisions.known_actor()

    @property
    def loaded_by(self) -> str | None:
        """Who loaded the value, for messages; None where one handle serves all who load."""
        if self.serves_everybody:
            return None
        return str(self._loaded_by or "code that no principal was bound to")


def load_handle(header: Any, context: bytes, field_path: str) -> Handle | None:
    """Return what a value that is loaded now is opened with later. It raises nothing.

    Args:
        header: the first 9 bytes of the envelope, or whatever is stored in its place.
        context: what values of the field are bound to; others are tried when it does not open.
        field_path: `app.model.field`.

    Returns:
        A handle, which is alive for half of `KEY_CACHE_SECONDS` at least; None where the key is
        not known or may not be used: it is asked for again, and an error raised, when a caller
        looks at the value.
    """
    this_thread.has_used_key = True
    if type(header) is not bytes or header[:1] != layout.FORMAT_VERSION:
        return None
    if uncommitted and key_changes.uncommitted():
        return None
    wanted, found = (header[1:], context, field_path), None
    if not uncommitted and uptime() < known.table.half_life:
        found = _kept_for_caller(known.table, wanted)
    try:
        found = found or _made(table_to_load_by(), wanted)
        if found is not None and found.may_open and _event_loop_waits():
            materials.opened(found.row)  # now, since a root key cannot be asked in the event loop
    except (EnvelopeError, ImproperlyConfigured):
        pass  # what is wrong is raised when a caller looks
    return found


def _kept_for_caller(table: Table, wanted: _Wanted) -> Handle | None:
    """Return the handle that serves the caller and was made before."""
    loader = _UNBOUND_IN_REQUEST if in_flight else _UNBOUND
    if bound_actor() is not None:
        loader = _ANY_PRINCIPAL
    found: Handle | None = table.handles.get((wanted, loader))
    return found if found is not None and found.policy_data is table.policy_data else None


def _made(table: Table, wanted: _Wanted) -> Handle | None:
    """Return a handle of what a table knows or reads; None where nothing is kept."""
    if uptime() >= table.deadline:
        return None
    with _transaction_kept_usable():
        version_id, context, field_path = wanted
        row = table.version(version_id)
        loader = _loader(row.policy)
        found: Handle | None = table.handles.get((wanted, loader))
        if found is not None and found.policy_data in (None, table.policy_data):
            return found
        found = Handle(table, row, context, field_path)
        if loader is not None:
            table.keep(table.handles, HANDLES, (wanted, loader), found)
    materials.renew_early(row)
    return found


def _loader(policy: KeyPolicy) -> str | None:
    """Return what a handle is kept under for the caller; None if it is not kept."""
    if bound_actor() is None:
        return _UNBOUND_IN_REQUEST if in_flight else _UNBOUND
    return _ANY_PRINCIPAL if policy.serves_everybody else decisions.known_actor()


_with_tables: WeakSet[BaseDatabaseWrapper] = WeakSet()  # connections on which keys could be read


@contextmanager
def _transaction_kept_usable() -> Iterator[None]:
    """Keep a transaction of PostgreSQL usable where the tables of keys may not be there yet."""
    using = configuration().database
    connection = connections[using]
    may_fail = connection.in_atomic_block and connection not in _with_tables
    with transaction.atomic(using=using) if may_fail else nullcontext():
        yield
    _with_tables.add(connection)


def decrypt_sealed(
    envelope: bytes,
    contexts: Sequence[bytes],
    field_path: str,
    handle: Handle | None,
    own_context: bytes = b"",
) -> bytes:
    """Return the plaintext of a value that was loaded before; errors as `decrypt` raises them.

    Args:
        envelope: the value as it was loaded.
        contexts: what it may be bound to.
        field_path: `app.model.field`.
        handle: what `load_handle` returned.
        own_context: the first of the contexts, where each value has its own and the handle none.

    Raises:
        OpeningNeedsThread: something would have to be asked, and an event loop is running.
    """
    # The path of every value that is read, so it is written flat.
    if handle is not None and not uncommitted:
        now, table = uptime(), handle.table
        if (
            now < table.deadline
            and handle.policy_data is table.policy_data
            and (
                handle.admitted is not None
                if bound_actor() is None
                else handle.serves_everybody or handle.admits()
            )
        ):
            try:
                opening = table.unwrapping[envelope[DERIVATION]]
            except KeyError:
                opening = None
            if opening is not None:
                uses = opening[1]
                uses.at = now
                next(uses.count)
                try:
                    additional_data = handle.additional_data + own_context
                    return decrypt_bound(opening[0], envelope, additional_data)
                except UnwrapFailed:
                    return decrypted(opening[0], envelope, contexts)
    return _decrypt_slowly(envelope, contexts, field_path, handle)


def _decrypt_slowly(
    envelope: bytes, contexts: Sequence[bytes], field_path: str, handle: Handle | None
) -> bytes:
    """Return what `decrypt_sealed` does, where something may have to be derived or asked."""
    this_thread.has_used_key = True
    # Another thread may be changing keys, which does not concern this one until it commits.
    if handle is not None and handle.opens() and not (uncommitted and key_changes.uncommitted()):
        derivation = envelope[DERIVATION]
        opening = handle.table.unwrapping.get(derivation)
        key = derived(handle.table, handle.row, derivation) if opening is None else opening[0]
        counted(handle.row.state.version_id, READ_FIELD).one()
        return decrypted(key, envelope, contexts)
    known_already = known_key(envelope[DERIVATION], field_path)
    if known_already is not None:
        return decrypted(known_already, envelope, contexts)
    return decrypt(envelope, contexts, field_path)


def _event_loop_waits() -> bool:
    """Whether an event loop waits for this thread: what is loaded here is looked at there."""
    pid = getattr(SyncToAsync.threadlocal, "main_event_loop_pid", None)
    if pid is None or pid != os.getpid():
        return False
    return bool(SyncToAsync.threadlocal.main_event_loop.is_running())  # or it has ended since
