"""Batches cut by the bytes of their values, where whole values are in memory at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from envelope_fields.rotation.statements import Stored

# What is in memory at once, and goes to the database in one statement: MySQL's and MariaDB's
# max_allowed_packet may be as low as 4 MiB, and some bytes are escaped.
BYTES_AT_ONCE = 2 * 2**20


def portions(stored: Sequence[Stored], *, by_size: bool) -> Iterator[Sequence[Stored]]:
    """Cut a batch into parts of few bytes, each of at least one value; or leave it whole."""
    if not by_size:
        if stored:
            yield stored
        return
    portion: list[Stored] = []
    size = 0
    for value in stored:
        if portion and size + value.size > BYTES_AT_ONCE:
            yield portion
            portion, size = [], 0
        portion.append(value)
        size += value.size
    if portion:
        yield portion
