"""The work that is timed, the same for every model: read, write in bulk, save one by one.

Each function returns the seconds that one value took. What is written is rolled back, so that
each round finds the table as the last one did.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from time import perf_counter
from typing import Any

from django.db import transaction
from django.db.models import Model

from envelope_fields import keyring

Work = Callable[[type[Model], str, Sequence[Any]], float]


def fill(model: type[Model], using: str, values: Sequence[Any]) -> None:
    """Replace the rows of a model by one for each value."""
    rows = model._base_manager.using(using)
    rows.all().delete()
    rows.bulk_create([model(value=value) for value in values])


def read_values(model: type[Model], using: str, values: Sequence[Any]) -> float:
    rows = model._base_manager.using(using).values_list("value", flat=True)
    return _exhaust(rows, len(values))


def load(model: type[Model], using: str, values: Sequence[Any]) -> float:
    """Load objects, and look at no value."""
    return _exhaust(model._base_manager.using(using).iterator(), len(values))


def look(model: type[Model], using: str, values: Sequence[Any]) -> float:
    """Load objects, and look at each value."""
    rows = model._base_manager.using(using).iterator()
    return _exhaust((row.value for row in rows), len(values))  # type: ignore[attr-defined]  # all have it


def fill_singly(model: type[Model], using: str, values: Sequence[Any]) -> None:
    """Replace the rows as many processes would write them: each has a nonce prefix of its own."""
    rows = model._base_manager.using(using)
    rows.all().delete()
    for value in values:
        keyring.forget()
        rows.create(value=value)


def cold(work: Work) -> Work:
    """Return the same work, done by a process that has read none of the values."""

    def worked(model: type[Model], using: str, values: Sequence[Any]) -> float:
        keyring.forget()
        load(model, using, values[:1])  # the key is known, and no nonce prefix
        return work(model, using, values)

    return worked


def bulk_create(model: type[Model], using: str, values: Sequence[Any]) -> float:
    rows = [model(value=value) for value in values]
    manager = model._base_manager.using(using)
    with transaction.atomic(using=using):
        started = perf_counter()
        manager.bulk_create(rows)
        seconds = perf_counter() - started
        transaction.set_rollback(True, using=using)
    return seconds / len(values)


def save(model: type[Model], using: str, values: Sequence[Any]) -> float:
    values = values[: len(values) // 4]  # a statement for each, so there is less to average out
    rows = [model(value=value) for value in values]
    with transaction.atomic(using=using):
        started = perf_counter()
        for row in rows:
            row.save(using=using)
        seconds = perf_counter() - started
        transaction.set_rollback(True, using=using)
    return seconds / len(values)


def _exhaust(rows: Iterable[Any], count: int) -> float:
    started = perf_counter()
    deque(rows, maxlen=0)
    return (perf_counter() - started) / count


READS: dict[str, Work] = {"values_list": read_values, "objects": load, "looked at": look}
WRITES: dict[str, Work] = {"bulk_create": bulk_create, "save": save}
