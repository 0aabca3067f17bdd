"""A conversion is started, and worked on here."""

from __future__ import annotations

from typing import Any

from envelope_fields.conversion.phases import ConversionRefused, Phase, begin, keys_of, standing
from envelope_fields.databases import database
from envelope_fields.jobs.runs import active_runs, insert, record, resume
from envelope_fields.jobs.throttle import Limits
from envelope_fields.jobs.work import Watcher, unwatched, work
from envelope_fields.lifecycle.context import key_transaction
from envelope_fields.models import RotationKind, RotationRun, RotationState
from envelope_fields.policy import Action, require_on_each


def start(field: Any, *, limits: Limits | None = None, actor: Any = None) -> RotationRun:
    """Make a run that converts a field, to be worked on; or return the one that is not over.

    Args:
        field: the field, as `convertible` returns it.
        limits: what it asks of databases at most.
        actor: on whose behalf; None is the current principal. Needs the right to re-encrypt, then
            and while the run goes on.

    Raises:
        ConversionRefused: the conversion is finished.
        KeyAccessDenied: the actor may not.
    """
    if standing(field).phase == Phase.FINISHED:
        raise ConversionRefused(f"The conversion of {field} is finished: nothing converts it.")
    with key_transaction() as using:
        database(using).lock_for_writing(RotationRun._meta.db_table)
        keys = keys_of(field, using)
        principal = require_on_each(Action.RE_ENCRYPT, keys, actor, using=using)
        under_way = active_run(field)
        if under_way is not None:
            return under_way
        started = RotationRun(
            kind=RotationKind.CONVERT,
            only_fields=[str(field)],
            limits=(limits or Limits()).nicely().as_json(),
        )
        insert(started, keys, principal, using, holds=False)  # rotations go on
        begin(field, using)
        record("start_conversion", started, principal, using, after={"field": str(field)})
    return started


def run(begun: RotationRun, *, watch: Watcher = unwatched) -> RotationRun:
    """Work on a run in this process until it is over; one that was paused goes on.

    Raises:
        EnvelopeError: the run cannot go on, and is failed.
        Error: the database failed, and it was not for a reason that passes.
    """
    return work(resume(begun) if begun.state == RotationState.PAUSED else begun, watch)


def active_run(field: Any) -> RotationRun | None:
    """Return the run that converts a field and is not over."""
    runs = active_runs().filter(kind=RotationKind.CONVERT)
    return next((each for each in runs if each.only_fields == [str(field)]), None)
