"""What a blind index adds to a write, beside a plain column of bytes in its place.

It is the time of this process alone that counts: what the server does with 24 bytes in an index is
the same for both. Rows are few in each round, so that some rounds are not disturbed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from time import process_time
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import Model

from bench.loading import email
from bench.models import Beside, Indexed
from bench.rounds import without_garbage_collection
from envelope_fields.crypto.blind_index import INDEX_BYTES

ROWS = 100


class Added(NamedTuple):
    """Microseconds of a value: what it takes with plain bytes, and what the index adds to that.

    `fastest` compares the fastest rounds; the others are of the differences within each round.
    """

    work: str
    beside: float
    fastest: float
    median: float
    lower: float
    upper: float


def compare(rounds: int) -> list[Added]:
    """Measure each kind of write, in turns."""
    for model in (Beside, Indexed):  # what is needed once is here before
        model.objects.create(email=email(0)).delete()
    with without_garbage_collection():
        return [_compared(name, work, rounds) for name, work in _WORKS.items()]


def _compared(name: str, work: Callable[[type[Model]], float], rounds: int) -> Added:
    pairs = [(work(Beside), work(Indexed)) for _ in range(rounds)]
    added = sorted(indexed - beside for beside, indexed in pairs)
    beside, indexed = (min(each) for each in zip(*pairs, strict=True))
    quarter = len(added) // 4
    seconds = (
        *(beside, indexed - beside),
        *(added[len(added) // 2], added[quarter], added[-1 - quarter]),
    )
    return Added(name, *(each * 1e6 for each in seconds))


def _objects(model: type[Model]) -> list[Any]:
    rows: list[Any] = [model(email=email(number)) for number in range(ROWS)]
    if model is Beside:
        for row in rows:
            row.email_index = os.urandom(INDEX_BYTES)
    return rows


def _bulk_create(model: type[Model]) -> float:
    rows = _objects(model)
    return _timed(lambda: model._base_manager.bulk_create(rows))


def _bulk_update(model: type[Model]) -> float:
    rows = _objects(model)
    names = ["email", *(["email_index"] if model is Beside else [])]

    def prepare() -> None:
        model._base_manager.bulk_create(rows)
        for row in rows:
            row.email = f"new.{row.email}"

    return _timed(lambda: model._base_manager.bulk_update(rows, names), prepare)


def _save(model: type[Model]) -> float:
    rows = _objects(model)

    def save() -> None:
        for row in rows:
            row.save()

    return _timed(save)


def _timed(work: Callable[[], object], prepare: Callable[[], object] = int) -> float:
    """Return the seconds of this process that one row took; nothing stays of it."""
    with transaction.atomic():
        prepare()
        began = process_time()
        work()
        seconds = process_time() - began
        transaction.set_rollback(True)
    return seconds / ROWS


_WORKS = {"bulk_create": _bulk_create, "bulk_update": _bulk_update, "save": _save}
