"""Denied attempts: logged at once, and stored whatever becomes of the transaction they were in.

An attempt in a transaction is stored on a connection of its own. Where there can be none, as on
SQLite, or where that would wait for this very transaction, it waits in memory until the request or
the process ends, or keys are read anew; the log has it already. One that is repeated from the same
address within a minute, as by a query over many rows, is one event. A second one says when it was
last and how often before: when the minute is over, it is tried again, or the process ends.
"""

from __future__ import annotations

import atexit
import logging
import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from math import inf
from threading import Lock
from time import monotonic
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import request_finished
from django.db import connections, transaction

from envelope_fields import keyring, policy
from envelope_fields.audit import trail
from envelope_fields.audit.record import event_of, now
from envelope_fields.conf import configuration
from envelope_fields.databases import transactions
from envelope_fields.models import AuditOutcome
from envelope_fields.policy import DATA_ACTIONS, Denial, Origin

FOLD_SECONDS = 60
PAUSE_SECONDS = 10  # after a failure, or each request would wait for a database that is down
REMEMBERED = 10_000  # repeats that are told apart, and attempts that wait

logger = logging.getLogger("envelope_fields.audit")


@dataclass(frozen=True, slots=True)
class Attempt:
    """What was denied, when, from where, and how often since it was last stored."""

    denial: Denial
    at: datetime
    origin: Origin
    repeated: int = 0


@dataclass(slots=True)
class _Window:
    """The time in which an attempt that is repeated makes no event of its own."""

    until: float
    last: Attempt
    repeats: int = 0


class _Repeats:
    """How often each denial came since it was last stored; the oldest windows first."""

    def __init__(self) -> None:
        self._seen: dict[tuple[Denial, str], _Window] = {}
        self._lock = Lock()

    def counted(self, attempt: Attempt) -> int | None:
        """Return how many repeats a new event tells of; None if this is one more of them."""
        which = attempt.denial, attempt.origin.address
        with self._lock:
            window = self._seen.get(which)
            if window is not None and monotonic() < window.until:
                window.repeats, window.last = window.repeats + 1, attempt
                return None
            self._seen.pop(which, None)
            self._seen[which] = _Window(monotonic() + FOLD_SECONDS, attempt)
            return 0 if window is None else window.repeats

    def over(self, now: float) -> Iterator[Attempt]:
        """Yield the last of each denial that was repeated, when its time is over."""
        with self._lock:
            while self._seen and self._is_over(window := next(iter(self._seen.values())), now):
                self._seen.pop(next(iter(self._seen)))
                if window.repeats:
                    yield replace(window.last, repeated=window.repeats - 1)

    def _is_over(self, window: _Window, now: float) -> bool:
        return window.until <= now or len(self._seen) > REMEMBERED


_repeats = _Repeats()
_waiting: deque[Attempt] = deque(maxlen=REMEMBERED)
_noted_for: Any = None  # the database of the keys; tests change it under a process
_paused_until = -inf


def connect() -> None:
    """Listen to what the policy denies, and store what has to wait as soon as that is possible."""
    policy.on_denied(note)
    request_finished.connect(_end_request, dispatch_uid="envelope_fields.audit.denied")
    keyring.on_refresh(store_waiting)
    atexit.register(_at_exit)


def note(denial: Denial) -> None:
    """Log a denied attempt, and store it now or later."""
    global _noted_for
    _noted_for = _database_name()
    attempt = Attempt(denial, now(), policy.origin())
    repeated = _repeats.counted(attempt)
    if repeated is not None or denial.action not in DATA_ACTIONS:
        _log(attempt)  # of values there may be thousands
    if repeated is not None:
        _waiting.append(replace(attempt, repeated=repeated))
        store_waiting()


def store_waiting() -> None:
    """Store what waits, if that can be committed now; never raises."""
    _try_to_store()


def _end_request(**_: Any) -> None:
    """Store what waits after a request; most have denied nothing, and must not wait for that."""
    global _paused_until
    if monotonic() >= _paused_until and not _try_to_store():
        _paused_until = monotonic() + PAUSE_SECONDS


def _try_to_store() -> bool:
    """Store what waits, if that can be committed now; return False if it failed."""
    _waiting.extend(_repeats.over(monotonic()))
    if not _waiting:
        return True
    try:
        using = configuration().database
        if not transactions.in_transaction(using):
            _store_all(using)
        elif transactions.has_autonomous(using) and not trail.is_held(using):
            transactions.autonomous(lambda: _store_all(using), using)
    except Exception as error:  # tests that allow no database have errors of their own
        logger.error("Denied attempts could not be stored yet: %s", type(error).__name__)
        return False
    return True


def _store_all(using: str) -> None:
    was_closed = connections[using].connection is None
    try:
        while _waiting:
            attempt = _waiting.popleft()
            try:
                with transaction.atomic(using=using):
                    trail.append(_event(attempt), using)
            except BaseException:
                _waiting.appendleft(attempt)
                raise
    finally:
        if was_closed and not connections[using].in_atomic_block:
            connections[using].close()


def _event(attempt: Attempt) -> Any:
    denial = attempt.denial
    said: dict[str, Any] = {"place": denial.place} if denial.place else {}
    if attempt.repeated:
        said["repeated_before"] = attempt.repeated
    return event_of(
        str(denial.action),
        outcome=AuditOutcome.DENIED,
        at=attempt.at,
        actor=denial.principal,
        origin=attempt.origin,
        key_id=denial.key_id,
        key_alias=denial.key_alias,
        after=said,
    )


def _log(attempt: Attempt) -> None:
    denial, origin = attempt.denial, attempt.origin
    logger.warning(
        "denied: %s",
        denial,
        extra={
            "audit_outcome": str(AuditOutcome.DENIED),
            "audit_occurred_at": attempt.at.isoformat(),
            "audit_action": str(denial.action),
            "audit_actor_type": denial.principal.type,
            "audit_actor_id": denial.principal.id,
            "audit_actor_name": denial.principal.name,
            "audit_key_id": str(denial.key_id or ""),
            "audit_key_alias": denial.key_alias or "",
            "audit_place": denial.place,
            "audit_address": origin.address,
            "audit_request_id": origin.request_id,
        },
    )


def _at_exit() -> None:
    """Store what is left, unless the settings now name another database, as after tests."""
    if _noted_for is not None and _noted_for == _database_name():
        _waiting.extend(_repeats.over(inf))
        store_waiting()


def _database_name() -> Any:
    """Return where keys are; None where the settings do not say, which a check tells of."""
    try:
        return connections[configuration().database].settings_dict["NAME"]
    except ImproperlyConfigured:
        return None


def _after_fork() -> None:
    """What waits in the parent is the parent's to store."""
    global _repeats
    _repeats = _Repeats()
    _waiting.clear()


os.register_at_fork(after_in_child=_after_fork)
