"""The works that are compared: all leave every row of a table under another header."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.db import connection, transaction

from bench.models import Encrypted
from envelope_fields import rotation
from envelope_fields.crypto.format import PAYLOAD_AT as HEAD
from envelope_fields.jobs.tasks import work_in_processes
from envelope_fields.lifecycle import rotate_master_key

BATCH = 2_000


def _cursor() -> Any:
    """Return the fastest cursor there is: psycopg's own sends bytes as they are."""
    if connection.vendor == "postgresql":
        return connection.Database.Cursor(connection.connection)
    return connection.cursor()


def _heads() -> list[tuple[int, bytes]]:
    # By hand, since no expression of Django's computes on envelopes.
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT id, substr(value, 1, {HEAD}) FROM bench_encrypted ORDER BY id")
        return [(pk, bytes(head)) for pk, head in cursor.fetchall()]


class Bare:
    """Ready-made headers, to be written to the rows in the order of their keys."""

    def __init__(self) -> None:
        gc.unfreeze()
        self._heads = _heads()
        self._other = [(pk, _flipped(head)) for pk, head in self._heads]
        gc.freeze()  # or Python would look through these again and again, in whatever runs after

    def __call__(self) -> None:
        """Write other headers than those that are there, by the fastest UPDATE that we know."""
        self._write(self._other, _UPDATES[connection.vendor])

    def two(self) -> None:
        """Write what was there before, in the same way, over two connections at once."""
        middle = len(self._heads) // 2
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(self._write_apart, (self._heads[:middle], self._heads[middle:])))

    def _write_apart(self, heads: list[tuple[int, bytes]]) -> None:
        try:
            connection.ensure_connection()
            self._write(heads, _UPDATES[connection.vendor])
        finally:
            connection.close()

    def arrays(self) -> None:
        """Write what was there before; on PostgreSQL from an array of keys and one of headers."""
        plain = _postgresql_arrays if connection.vendor == "postgresql" else None
        self._write(self._heads, plain or _UPDATES[connection.vendor])

    @staticmethod
    def _write(heads: list[tuple[int, bytes]], update: Any) -> None:
        for start in range(0, len(heads), BATCH):
            with transaction.atomic(), _cursor() as cursor:
                update(cursor, heads[start : start + BATCH])


def rewrapped(workers: int) -> None:
    """Rotate the key, and rewrap every value."""
    rotate_master_key("default")
    if workers == 1:
        done = rotation.run("default")
    else:
        done = work_in_processes(rotation.start("default"), workers, lambda run: None)
    assert done.state == "completed", done.error


def re_encrypted() -> None:
    """Rotate the key, and encrypt every value anew."""
    rotate_master_key("default")
    assert rotation.run("default", kind="re_encrypt").state == "completed"


def saved(rows: int) -> None:
    """Load and save, as one would without a rotation."""
    for row in Encrypted.objects.order_by("pk")[:rows].iterator():
        row.save()


def vacuum() -> None:
    """Let no work pay for the dead rows that another has left."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("VACUUM (ANALYZE) bench_encrypted")


def _postgresql(cursor: Any, heads: list[tuple[int, bytes]]) -> None:
    cursor.execute(
        # All heads as one run of bytes: it is faster than an array of them.
        "UPDATE bench_encrypted "
        f"SET value = substr(%s::bytea, ((nth - 1) * {HEAD} + 1)::int, {HEAD}) "
        f"|| substr(value, {HEAD + 1}) "
        "FROM unnest(%s::bigint[]) WITH ORDINALITY AS batch(id, nth) "
        "WHERE bench_encrypted.id = batch.id",
        [connection.Database.Binary(b"".join(head for _, head in heads)), [pk for pk, _ in heads]],
    )


def _postgresql_arrays(cursor: Any, heads: list[tuple[int, bytes]]) -> None:
    cursor.execute(
        f"UPDATE bench_encrypted SET value = batch.head || substr(value, {HEAD + 1}) "
        "FROM unnest(%s::bigint[], %s::bytea[]) AS batch(id, head) "
        "WHERE bench_encrypted.id = batch.id",
        [[pk for pk, _ in heads], [connection.Database.Binary(head) for _, head in heads]],
    )


def _mysql(cursor: Any, heads: list[tuple[int, bytes]]) -> None:
    rows = " UNION ALL ".join(["SELECT %s AS id, _binary %s AS head"] * len(heads))
    cursor.execute(
        f"UPDATE ({rows}) AS batch STRAIGHT_JOIN bench_encrypted "
        "ON bench_encrypted.id = batch.id "
        f"SET value = CONCAT(batch.head, SUBSTR(value, {HEAD + 1}))",
        [item for row in heads for item in row],
    )


def _sqlite(cursor: Any, heads: list[tuple[int, bytes]]) -> None:
    cursor.executemany(
        f"UPDATE bench_encrypted SET value = CAST(%s || substr(value, {HEAD + 1}) AS BLOB) "
        "WHERE id = %s",
        [(head, pk) for pk, head in heads],
    )


_UPDATES = {"postgresql": _postgresql, "mysql": _mysql, "sqlite": _sqlite}


def _flipped(head: bytes) -> bytes:
    return head[:-1] + bytes([head[-1] ^ 1])
