"""What a loaded value keeps of the keyring: whom it opens for without asking, and until when.

A handle holds no key. It names the key version as it was known when the object was loaded, and
the principal whom the policy admitted then. It ends with the table that it was made from: with
eviction, with a refusal, with a change of a key, of grants or of users, and with time.
"""

import os
from asyncio import get_running_loop
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from time import monotonic
from weakref import WeakSet

from asgiref.sync import SyncToAsync
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from envelope_fields.conf import configuration
from envelope_fields.exceptions import EnvelopeError, OpeningNeedsThread
from envelope_fields.keyring import cache, materials, rows
from envelope_fields.keyring.table import Table
from envelope_fields.keyring.uses import READ_FIELD, Uses, counted
from envelope_fields.policy import authorization
from envelope_fields.policy.attempts import Attempt
from envelope_fields.policy.authorization import check_state
from envelope_fields.policy.data import KeyPolicy, PolicyData
from envelope_fields.policy.principals import Principal, bound_actor, current_principal
from envelope_fields.policy.requests import in_flight

# For keys that every principal may use it is never looked up who that is.
_ANY_PRINCIPAL = "any"


class Handle:
    """A key version, and whom the policy admitted to it when a value was loaded.

    Attributes:
        table: what was known of keys then; the handle lives as long as that is valid.
        facts: what was known of users and grants then; None in a transaction that sees the past.
        row: the key version.
        admitted: the principal whom the policy admitted, by its key; None if it was unbound.
        serves_everybody: whether the key is open to every principal.
        uses: of the key version; not set before a value is opened.
    """

    uses: Uses
    __slots__ = ("_loaded_by", "admitted", "facts", "row", "serves_everybody", "table", "uses")

    def __init__(self, table: Table, facts: PolicyData, row: rows.KeyRow, field_path: str) -> None:
        self.table = table
        self.row = row
        # What is known in a transaction that sees the past is valid in that alone: see `opens`.
        self.facts = None if table.is_of_transaction else facts
        self._loaded_by: Principal | None = None
        policy = table.policy(row.state.key_id)
        self.serves_everybody = authorization.serves_everybody(policy)
        attempt = Attempt(READ_FIELD.action, row.state.key_id, row.state.alias, field_path)
        check_state(READ_FIELD.action, row.state)
        self.admitted: str | None
        if bound_actor() is None:
            is_open = authorization.serves_unbound_code(policy) and not in_flight
            self.admitted = _ANY_PRINCIPAL if is_open else None
        elif self.serves_everybody:
            self.admitted = _ANY_PRINCIPAL
        else:
            # A login changes who is behind an actor, and that refers to its request.
            self._loaded_by = current_principal()
            may = authorization.is_allowed(attempt, policy, facts, configuration().database)
            self.admitted = authorization.known_actor() if may else None

    def begin_uses(self) -> Uses:
        """Return the uses of the key version, when the first value is opened."""
        self.uses = counted(self.row.state.version_id, READ_FIELD)
        return self.uses

    def opens(self) -> bool:
        """Whether it opens values for the caller, with nothing to ask."""
        table = self.table
        if monotonic() >= table.deadline:
            return False
        if not (cache.holds(table) if self.facts is None else self.facts is table.facts):
            return False
        # Where none is bound, it opens for the principal who was admitted.
        return self.admitted is not None if bound_actor() is None else self.admits()

    def admits(self) -> bool:
        """Whether the principal who is bound is the one who was admitted, or any may be."""
        if self.serves_everybody:
            return True
        return self.admitted is not None and self.admitted == authorization.known_actor()

    @property
    def loaded_by(self) -> str | None:
        """Who loaded the value, for messages; None where one handle serves all who load."""
        if self.serves_everybody:
            return None
        return str(self._loaded_by or "code that no principal was bound to")


def kept(table: Table, version_id: bytes, field_path: str) -> Handle | None:
    """Return the handle that serves the caller and was made before, if it is seen at a glance."""
    under = _ANY_PRINCIPAL if bound_actor() is not None else _under_unbound()
    found: Handle | None = table.handles.get((version_id, field_path, under))
    return found if found is not None and found.facts is table.facts else None


def handle(table: Table, version_id: bytes, field_path: str) -> Handle | None:
    """Return what a value that is loaded now is opened with.

    Args:
        table: what is known of keys; it may have to be read from the database.
        version_id: of the key version, as the envelope names it.
        field_path: `app.model.field`.

    Returns:
        A handle; None where the key is not known or may not be used: it is asked for again, and
        an error raised, when a caller looks at the value. None, too, where nothing is kept.
    """
    if monotonic() >= table.deadline:
        return None
    try:
        with _transaction_kept_usable():
            row = table.version(version_id)
            which = (version_id, field_path, _kept_under(table.policy(row.state.key_id)))
            found = table.handles.get(which)
            if found is None or found.facts not in (None, table.facts):
                found = Handle(table, table.facts, row, field_path)
                materials.renew_early(row)
                if which[-1] is not None:
                    table.keep_handle(which, found)
            return found
    except (EnvelopeError, ImproperlyConfigured):
        return None


def _kept_under(policy: KeyPolicy) -> str | None:
    """Return what a handle is kept under for the caller; None if it is not kept."""
    if bound_actor() is None:
        return _under_unbound()
    return _ANY_PRINCIPAL if authorization.serves_everybody(policy) else authorization.known_actor()


def _under_unbound() -> str:
    return "unbound in a request" if in_flight else "unbound"


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


def refuse_in_event_loop() -> None:
    """Return if a database or a root key may be asked in this thread.

    Raises:
        OpeningNeedsThread: an event loop is running. As in Django, `DJANGO_ALLOW_ASYNC_UNSAFE`
            allows it all the same.
    """
    try:
        get_running_loop()
    except RuntimeError:
        return
    if not os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE"):
        raise OpeningNeedsThread(
            "its key has to be asked for, which cannot be done while an event loop is running."
        )


def event_loop_waits() -> bool:
    """Whether an event loop waits for this thread: what is loaded here is looked at there."""
    return getattr(SyncToAsync.threadlocal, "main_event_loop_pid", None) == os.getpid()
