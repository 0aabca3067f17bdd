"""An encrypted field beside what it stands on: text, bytes, and the cryptography by itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

from bench import models, primitives
from bench.rounds import fastest
from bench.work import READS, WRITES, cold, fill, fill_singly
from envelope_fields.crypto.format import OVERHEAD_BYTES


class Measurement(NamedTuple):
    """Seconds that a value takes in one kind of work."""

    work: str
    text: float  # a TextField with the same value
    bytes: float  # a BinaryField with as many random bytes as the envelope has
    field: float  # the smallest field that calls the primitives
    encrypted: float  # an EncryptedTextField
    bare: float  # the primitives in a loop, without a database


def text(characters: int, number: int) -> str:
    """Return a text that no other number has."""
    return f"{number:08}".ljust(characters, "x")


def compare(using: str, values: list[str], rounds: int) -> Iterator[Measurement]:
    """Measure each kind of work on one database, with these values."""
    noise = [os.urandom(len(value.encode()) + OVERHEAD_BYTES) for value in values]
    columns = {
        "text": (models.Text, using, values),
        "bytes": (models.Bytes, using, noise),
        "field": (models.Primitives, using, values),
        "encrypted": (models.Encrypted, using, values),
    }
    for column in columns.values():
        fill(*column)
    for bare, works in ((primitives.reading, READS), (primitives.writing, WRITES)):
        for name, work in works.items():
            turns = {name: partial(work, *column) for name, column in columns.items()}
            yield Measurement(name, **fastest({**turns, "bare": bare(values)}, rounds))


def compare_prefixes(using: str, values: list[str], rounds: int) -> Iterator[tuple[str, float]]:
    """Measure what reading adds where each row has a nonce prefix that was not met before."""
    fill(models.Text, using, values)
    fill_singly(models.Encrypted, using, values)
    for name, work in READS.items():
        turns = {
            "text": partial(work, models.Text, using, values),
            "encrypted": partial(cold(work), models.Encrypted, using, values),
        }
        measured = fastest(turns, rounds)
        yield name, measured["encrypted"] - measured["text"]
