"""Encrypted values of other types beside an encrypted text of the same length."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

from django.db.models import Model

from bench import models
from bench.rounds import fastest
from bench.work import READS, WRITES, fill

COUNT = 1000


def values_of(model: type[Model]) -> list[Any]:
    """Return as many values as a round has."""
    numbers = range(COUNT)
    if model is models.Number:
        return [10_000 + number for number in numbers]
    if model is models.Amount:
        return [Decimal(number) / 4 for number in numbers]
    if model is models.Day:
        return [date(2000, 1, 1) + timedelta(days=number) for number in numbers]
    if model is models.Flag:
        return [number % 2 == 0 for number in numbers]
    return [datetime(2000, 1, 1, tzinfo=UTC) + timedelta(minutes=number) for number in numbers]


def compare(rounds: int) -> Iterator[tuple[str, str, float, float]]:
    """Yield each type and kind of work, and the seconds of a value and of a text like it."""
    for model in (models.Number, models.Amount, models.Day, models.Flag, models.Moment):
        values = values_of(model)
        columns = {"value": (model, values), "text": (models.Encrypted, list(map(str, values)))}
        for of, stored in columns.values():
            fill(of, "default", stored)
        for name, work in {**READS, **WRITES}.items():
            turns = {
                each: partial(work, of, "default", stored) for each, (of, stored) in columns.items()
            }
            seconds = fastest(turns, rounds)
            yield model.__name__, name, seconds["value"], seconds["text"]
