"""The rows of runs, read from where keys live."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from uuid import UUID

from django.db.models import QuerySet, Sum

from envelope_fields.conf import configuration
from envelope_fields.models import ACTIVE_STATES, MasterKey, RotationRun
from envelope_fields.policy import Principal
from envelope_fields.rotation.runs.errors import NoSuchRun

RunOrId = RotationRun | UUID

SEEN_EVERY = timedelta(seconds=1)  # how often whoever works on a run says so


def active_run(key: MasterKey) -> RotationRun | None:
    """Return the run of a key that is not over."""
    return all_runs().filter(active_key=key.pk).first()


def active_runs() -> QuerySet[RotationRun]:
    """Return the runs that are not over."""
    return all_runs().filter(state__in=ACTIVE_STATES)


def is_asked_for(
    run: RotationRun, *, kind: str, versions: Iterable[int], fields: Iterable[str], database: str
) -> bool:
    """Whether a run does what `start` with these arguments would have done."""
    names = {name.lower() for name in fields}
    return (kind, sorted(set(versions)), names, database) == (
        run.kind,
        run.only_versions,
        {name.lower() for name in run.only_fields},
        run.only_database,
    )


def find_run(run: RunOrId) -> RotationRun:
    """Return a run as it is now.

    Raises:
        NoSuchRun: there is none.
    """
    pk = run.pk if isinstance(run, RotationRun) else run
    found = all_runs().filter(pk=pk).first()
    if found is None:
        raise NoSuchRun(f"There is no rotation run {pk}.")
    return found


def all_runs() -> QuerySet[RotationRun]:
    """Return the runs, from where keys live."""
    return RotationRun.objects.using(configuration().database).select_related("master_key")


def principal_of_run(run: RotationRun) -> Principal:
    """Return on whose behalf a run was started."""
    return Principal(run.actor_type, run.actor_id, run.actor_name)


def moved_so_far(run: RotationRun) -> int:
    """Return how many values a run has moved."""
    places = run.places.using(configuration().database)
    return places.aggregate(moved=Sum("ranges__moved"))["moved"] or 0
