"""Collisions: rows that a unique index would not take beside each other.

They are found before anything is written, by digests under a key that lasts as long as the look.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

from envelope_fields.crypto.blind_index import value_part
from envelope_fields.exceptions import EnvelopeError
from envelope_fields.indexing.rows import IndexedTable, batches
from envelope_fields.jobs.job import stops


@dataclass(frozen=True, slots=True)
class Collision:
    """Two rows whose values have the same normal form; nothing of the values.

    Attributes:
        index: `app_label.Model.field`.
        database: the alias in `DATABASES`.
        schema: of the table; None where there is one schema.
        row, other: their primary keys, as text.
    """

    index: str
    database: str
    schema: str | None
    row: str
    other: str


@dataclass(slots=True)
class Looked:
    """What became of a batch: how many rows have a normal form, and which collide or failed."""

    values: int
    collisions: list[Collision]
    failed: list[tuple[str, str]]


def collisions(table: IndexedTable) -> Iterator[Looked]:
    """Look for values with the same normal form, batch by batch. Nothing is written.

    Each later row is reported with the first one. It takes about 150 bytes of memory a row.

    Raises:
        EnvelopeError, ImproperlyConfigured: no value can be opened.
        RowsHidden: rows are hidden from this role.
        DatabaseError: the database failed.
    """
    key, first = os.urandom(32), dict[bytes, str]()
    for rows in batches(table, with_index=False):
        looked = Looked(0, [], [])
        for row in rows:
            try:
                term = row.term()
            except EnvelopeError as error:
                if stops(error):
                    raise
                looked.failed.append((row.name, str(error)))
                continue
            if term is None:
                continue
            part = value_part(term.forms, term.scope)
            del term
            looked.values += 1
            digest = hashlib.blake2b(part, key=key, digest_size=16).digest()
            before = first.setdefault(digest, row.name)
            if before != row.name:
                looked.collisions.append(
                    Collision(str(table.index), table.using, table.schema, before, row.name)
                )
        yield looked
