"""Denied attempts: logged at once, and stored whatever becomes of the transaction they were in.

An attempt in a transaction is stored in an autonomous one. Where there can be none, as on SQLite,
or where that would wait for this very transaction, it waits in memory until the request or the
process ends, or keys are read anew; the log has it already. One that is repeated from the same
address within a minute, as by a query over many rows, is one event. A second one says when it was
last and how often before: when the minute is over, it is tried again, or the process ends.
"""

import logging
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from math import inf
from threading import RLock
from time import monotonic
from typing import Any, ClassVar

from envelope_fields import policy
from envelope_fields.audit import events, trail
from envelope_fields.audit.write_behind import WriteBehind
from envelope_fields.databases import transactions
from envelope_fields.models import AuditEvent, AuditOutcome

FOLD_SECONDS = 60
REMEMBERED = 10_000  # repeats that are told apart, and attempts that wait


@dataclass(frozen=True, slots=True)
class Attempt:
    """What was denied, when, from where, and how often since it was last stored."""

    denial: policy.Denial
    at: datetime
    origin: policy.Origin
    repeated: int = 0

    def event(self) -> AuditEvent:
        """Return it as an event, to be appended to the trail."""
        denial = self.denial
        after: dict[str, Any] = {"field": denial.field_path} if denial.field_path else {}
        if self.repeated:
            after["repeated_before"] = self.repeated
        [event] = events.events_of(
            str(denial.action),
            [(denial.key_id, denial.key_alias, after)],
            outcome=AuditOutcome.DENIED,
            at=self.at,
            actor=denial.principal,
            origin=self.origin,
        )
        return event


@dataclass(slots=True)
class _Window:
    """The time in which an attempt that is repeated makes no event of its own."""

    until: float
    last: Attempt
    repeats: int = 0


class _Repeats:
    """How often each denial came since it was last stored; the oldest windows first."""

    def __init__(self) -> None:
        self._seen: dict[tuple[policy.Denial, str], _Window] = {}
        self._lock = RLock()  # a signal handler may be denied something, too

    def counted(self, attempt: Attempt) -> int | None:
        """Return how many repeats a new event has; None if this is one more of them."""
        which = attempt.denial, attempt.origin.address
        with self._lock:
            window = self._seen.get(which)
            if window is not None and monotonic() < window.until:
                window.repeats, window.last = window.repeats + 1, attempt
                return None
            self._seen.pop(which, None)
            self._seen[which] = _Window(monotonic() + FOLD_SECONDS, attempt)
            return 0 if window is None else window.repeats

    def __len__(self) -> int:
        return len(self._seen)

    def over(self, now: float) -> Iterator[Attempt]:
        """Yield the last of each denial that was repeated, when its time is over."""
        with self._lock:
            for which, window in tuple(self._seen.items()):
                if window.until > now and len(self._seen) <= REMEMBERED:
                    break
                self._seen.pop(which, None)
                if window.repeats:
                    yield replace(window.last, repeated=window.repeats - 1)


class _Denials(WriteBehind):
    FAILED: ClassVar = "Denied attempts could not be stored yet: %s"
    LEVEL: ClassVar = logging.ERROR

    def clear(self) -> None:
        super().clear()
        self.repeats = _Repeats()
        self.waiting: deque[Attempt] = deque(maxlen=REMEMBERED)

    def is_waiting(self, *, last: bool = False) -> bool:
        self.waiting.extend(self.repeats.over(inf if last else monotonic()))
        self.is_empty = not self.waiting and not self.repeats
        return bool(self.waiting)

    def may_write(self, using: str) -> bool:
        return not transactions.in_transaction(using) or (
            transactions.has_autonomous(using) and not trail.is_held(using)
        )

    def write(self, using: str) -> None:
        if transactions.in_transaction(using):
            transactions.autonomous(lambda: self._append(using), using)
        else:
            with transactions.waiting_briefly(using):
                self._append(using)

    def _append(self, using: str) -> None:
        while self.waiting:
            attempt = self.waiting.popleft()
            try:
                with trail.act(using):
                    trail.append_all([attempt.event()], using)
            except BaseException:
                self.waiting.appendleft(attempt)
                raise


buffer = _Denials(trail.logger)
store = buffer.write_now


def connect() -> None:
    """Listen to what the policy denies, and store what has to wait as soon as that is possible."""
    policy.on_denied(note)
    buffer.connect()


def note(denial: policy.Denial) -> None:
    """Log a denied attempt, and store it now or later."""
    attempt = Attempt(denial, events.now(), policy.origin())
    repeated = buffer.repeats.counted(attempt)
    buffer.belongs_here()
    if repeated is not None or denial.action not in policy.attempts.DATA_ACTIONS:
        _log(attempt)  # of values there may be thousands
    if repeated is not None:
        buffer.waiting.append(replace(attempt, repeated=repeated))
        store()


def _log(attempt: Attempt) -> None:
    extra = {**events.log_fields(attempt.event()), "audit_field": attempt.denial.field_path}
    del extra["audit_number"]  # it is not an event yet
    trail.logger.warning("denied: %s", attempt.denial, extra=extra)
