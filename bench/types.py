"""Encrypted values of other types beside an encrypted text of the same length."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

from django.db.models import Model

from bench import models
from bench.rounds import fastest
from bench.work import READS, WRITES, fill

COUNT = 1000

# What makes a value of each type of a number.
VALUES: dict[type[Model], Callable[[int], Any]] = {
    models.Email: "ann{}@clinic.example".format,
    models.Number: lambda number: 10_000 + number,
    models.Amount: lambda number: Decimal(number) / 4,
    models.Weight: lambda number: number / 7,
    models.Flag: lambda number: number % 2 == 0,
    models.Day: lambda number: date(2000, 1, 1) + timedelta(days=number),
    models.Moment: lambda number: datetime(2000, 1, 1, tzinfo=UTC) + timedelta(minutes=number),
    models.Clock: lambda number: time(number % 24, number % 60),
    models.Period: lambda number: timedelta(hours=number, seconds=1),
    models.Identifier: lambda number: UUID(int=number << 64),
    models.Address: lambda number: f"192.0.{number // 256}.{number % 256}",
    models.Address6: lambda number: f"2001:db8::{number + 1:x}",
    models.Blob: lambda number: b"%020d" % number,
}


def compare(rounds: int) -> Iterator[tuple[str, str, float, float]]:
    """Yield each type and kind of work, and the seconds of a value and of a text like it."""
    for model, value_of in VALUES.items():
        values = [value_of(number) for number in range(COUNT)]
        columns = {
            "value": (model, values),
            "text": (models.Encrypted, list(map(_printed, values))),
        }
        for of, stored in [*columns.values()] * 2:
            # Twice: what a table holds first is read more slowly, whatever its type is.
            fill(of, "default", stored)
        for name, work in {**READS, **WRITES}.items():
            turns = {
                each: partial(work, of, "default", stored) for each, (of, stored) in columns.items()
            }
            seconds = fastest(turns, rounds)
            yield model.__name__, name, seconds["value"], seconds["text"]


def _printed(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
