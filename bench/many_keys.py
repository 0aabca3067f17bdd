"""What other keys cost a rotation, and what many keys in one run do."""

from __future__ import annotations

import os
from math import inf
from time import perf_counter
from typing import Any

from django.db import connection
from django.utils import timezone

from bench.models import Encrypted, OfTenant
from bench.table import Table
from envelope_fields import rotation
from envelope_fields.crypto import format as layout
from envelope_fields.lifecycle import create_master_key, rotate_master_key
from envelope_fields.models import MasterKey, MasterKeyVersion

OTHER_KEYS = (10, 10_000)
TENANTS, VALUES = 1_000, 200_000
AT_ONCE = 1_000
ONE_VALUE_RUNS = 5  # in each round
WORDS = {"database": 12}
BESIDE = {
    "rows": 9, "other keys": 12, "one value, ms": 15, "other keys ": 12, "one value, ms ": 15,
    "ratio": 8,
}  # fmt: skip
TOGETHER = {"values": 9, "one key, s": 12, "keys": 8, "many keys, s": 14, "ratio": 8}


def measure(vendor: str, rounds: int, divide: int) -> None:
    """Print both tables of a database."""
    _beside_other_keys(vendor, rounds, divide)
    _together(vendor, rounds, divide)


def _beside_other_keys(vendor: str, rounds: int, divide: int) -> None:
    table = Table(WORDS, BESIDE)
    few, many = (max(keys // divide, 10) for keys in OTHER_KEYS)
    rows = max(many, 100)
    Encrypted.objects.all().delete()
    Encrypted.objects.create(value="one")
    keys, versions = _keys(many)
    best = {few: inf, many: inf}
    for _ in range(rounds):  # in turns, since a machine may do other things for a while
        for count in best:
            _have(keys[:count], versions[:count])
            _fill([bytes(version.version_id) for version in versions[:count]], rows)
            _analyze()
            best[count] = min(best[count], *(_one_value() for _ in range(ONE_VALUE_RUNS)))
    table.row(
        vendor, f"{rows:,}", f"{few:,}", f"{best[few] * 1000:,.1f}", f"{many:,}",
        f"{best[many] * 1000:,.1f}", f"{best[many] / best[few]:.2f}",
    )  # fmt: skip


def _keys(count: int) -> tuple[list[MasterKey], list[MasterKeyVersion]]:
    """Return rows of keys that nothing is done with, and of their versions."""
    now = timezone.now()
    keys = [MasterKey(alias=f"other-{number}") for number in range(count)]
    versions = [
        MasterKeyVersion(
            master_key=key, version_id=os.urandom(layout.VERSION_ID_BYTES), number=1,
            wrapped_material=os.urandom(89), root_key="default", opened_at=now,
        )
        for key in keys
    ]  # fmt: skip
    return keys, versions


def _have(keys: list[MasterKey], versions: list[MasterKeyVersion]) -> None:
    """Have these other keys, and no more."""
    with connection.cursor() as cursor:  # by hand, since rows of keys refuse to be deleted
        for model, column in ((MasterKeyVersion, "master_key_id"), (MasterKey, "id")):
            cursor.execute(
                f"DELETE FROM {model._meta.db_table} WHERE {column} IN "
                "(SELECT id FROM (SELECT id FROM envelope_fields_masterkey "
                "WHERE alias LIKE 'other-%') AS others)"
            )
    MasterKey.objects.bulk_create(keys, batch_size=AT_ONCE)
    for version in versions:
        version.pk = None
    MasterKeyVersion.objects.bulk_create(versions, batch_size=AT_ONCE)


def _fill(version_ids: list[bytes], rows: int) -> None:
    """Store values under other keys, which nobody opens, in the place of those before."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT min(id) FROM bench_encrypted")
        cursor.execute("DELETE FROM bench_encrypted WHERE id > %s", cursor.fetchone())
        cursor.executemany(
            "INSERT INTO bench_encrypted (value) VALUES (%s)",
            [
                (layout.header(version_ids[row % len(version_ids)]) + os.urandom(200),)
                for row in range(rows)
            ],
        )


def _one_value() -> float:
    rotate_master_key("default")
    began = perf_counter()
    run = rotation.run("default")
    seconds = perf_counter() - began
    assert (run.state, rotation.progress(run).moved) == ("completed", 1), run.error
    return seconds


def _together(vendor: str, rounds: int, divide: int) -> None:
    table = Table(WORDS, TOGETHER)
    tenants, values = max(TENANTS // divide, 10), max(VALUES // divide, 1000)
    keys = [create_master_key(f"tenant-{number}") for number in range(tenants)]
    one = [create_master_key("one")]
    best = {"one": inf, "many": inf}
    for _ in range(rounds):
        for name, used in (("one", one), ("many", keys)):
            _store(used, values)
            for key in used:
                rotate_master_key(key)
            _analyze()
            began = perf_counter()
            run = rotation.run(used)
            best[name] = min(best[name], perf_counter() - began)
            assert (run.state, rotation.progress(run).moved) == ("completed", values), run.error
    table.row(
        vendor, f"{values:,}", f"{best['one']:.2f}", f"{tenants:,}", f"{best['many']:.2f}",
        f"{best['many'] / best['one']:.2f}",
    )  # fmt: skip


def _store(keys: list[MasterKey], values: int) -> None:
    OfTenant.objects.all().delete()
    for start in range(0, values, AT_ONCE):
        rows: list[Any] = [
            OfTenant(tenant=keys[number % len(keys)].alias, value="x" * 200)
            for number in range(start, min(start + AT_ONCE, values))
        ]
        OfTenant.objects.bulk_create(rows)


def _analyze() -> None:
    """Let no run pay for the dead rows of another, or for what a planner does not know."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("VACUUM (ANALYZE)")
