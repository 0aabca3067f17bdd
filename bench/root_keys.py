"""Print how often root keys are asked, and how long they take to answer."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

from bench.databases import temporary_databases
from bench.table import Table
from bench.versions import versions

KEYS, THREADS, PROCESSES, HOURS = 1_000, 32, 4, 24
ANSWER_SECONDS = 0.005  # as a service in the same region may take
ROUNDS = 50
NOTES = f"""
asks   how often the root key is asked to open a master key version
ms     how long the whole takes where each answer takes {ANSWER_SECONDS * 1000:.0f} ms

Times below are the median of {ROUNDS}, on loopback or in the same process: what a network adds is
yours. AWS KMS itself, Google Cloud KMS and Azure were not measured."""


def main() -> None:
    print(versions(), end="\n\n")
    with temporary_databases("bench.root_key_settings"):
        _print_calls()
    print(NOTES, end="\n\n")
    _print_seconds()


def _print_calls() -> None:
    table = Table({"what a process does": 62}, {"asks": 8, "ms": 10})
    for what, asks, seconds in _scenes():
        table.row(what, f"{asks:,}", "" if seconds is None else f"{seconds * 1000:,.0f}")


def _scenes() -> Iterator[tuple[str, int, float | None]]:
    """Yield what is done, how often a root key is asked, and how long it took."""
    from bench.models import OfTenant
    from envelope_fields.lifecycle import create_master_key
    from tests.keyring import calls

    values = calls.Values(OfTenant, "value")
    aliases = [f"tenant-{number}" for number in range(KEYS)]
    for alias in aliases:
        create_master_key(alias)
    values.store(aliases)
    first = aliases[0]

    def read() -> None:
        values.read(first)

    to_load, to_read_one, to_read_all = calls.beginning(values)
    yield f"begin, and load {KEYS:,} rows under {KEYS:,} master keys", to_load, None
    yield "read one of them", to_read_one, None
    yield "read all of them", *_slowly(lambda: calls.beginning(values), to_read_all)
    asked = calls.at_once(read, THREADS)
    yield f"{THREADS} threads need one key at once", asked.times, None
    counts = calls.in_processes(read, PROCESSES)
    yield f"{PROCESSES} processes need one key", sum(counts), None
    yield f"read a value under one version each minute, for {HOURS} hours", _in_time(read), None
    yield (
        f"write a value under one version each minute, for {HOURS} hours",
        _in_time(lambda: values.write(first)),
        None,
    )


def _slowly(scene: Callable[[], Any], asks: int) -> tuple[int, float]:
    from tests.keyring.calls import CountedRootKey

    CountedRootKey.answer = staticmethod(lambda: time.sleep(ANSWER_SECONDS))
    try:
        began = time.perf_counter()
        scene()
        return asks, time.perf_counter() - began
    finally:
        CountedRootKey.answer = staticmethod(lambda: None)


def _in_time(act: Callable[[], None]) -> int:
    import pytest

    from tests.keyring import calls
    from tests.keyring.clock import Clock

    with pytest.MonkeyPatch.context() as patch:
        return calls.over_time(act, Clock(patch), HOURS * 3600)


def _print_seconds() -> None:
    table = Table({"root key": 26}, {"wrap, ms": 12, "unwrap, ms": 12})
    for name, running in ROOT_KEYS.items():
        try:
            with running() as root_key:
                wrap, unwrap = _timed(root_key)
                root_key.close()
        except ImportError as error:
            print(f"{name}: not measured, {error.name or error} is not here (`make root-keys`)")
            continue
        table.row(name, f"{wrap * 1000:.2f}", f"{unwrap * 1000:.2f}")


def _timed(root_key: Any) -> tuple[float, float]:
    """Return the median seconds of wrapping and of unwrapping."""
    from envelope_fields.crypto.buffers import random_buffer
    from envelope_fields.crypto.context import KeyVersionContext

    context = KeyVersionContext(UUID(int=1), b"measured", 1, "encrypt_decrypt")
    material = random_buffer(32)
    wrapped = root_key.wrap(material, context).material
    return (
        _median_seconds(lambda: root_key.wrap(material, context)),
        _median_seconds(lambda: root_key.unwrap(wrapped, context)),
    )


def _median_seconds(act: Callable[[], Any]) -> float:
    seconds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        act()
        seconds.append(time.perf_counter() - began)
    return median(seconds)


@contextmanager
def _local() -> Iterator[Any]:
    from envelope_fields.root_keys.local import LocalRootKey, generate

    yield LocalRootKey(key=generate())


@contextmanager
def _openbao() -> Iterator[Any]:
    from tests.root_keys.vault.service import VaultService

    with TemporaryDirectory() as directory:
        service = VaultService(Path(directory))
        try:
            # Its proxy is for faults, and takes a time of its own.
            yield service.root_key(url=service.client.url)
        finally:
            service.close()


@contextmanager
def _softhsm() -> Iterator[Any]:
    import pytest

    from tests.root_keys.pkcs11.softhsm import MODULES, Token

    if not any(map(os.path.exists, filter(None, MODULES))):
        raise ImportError("SoftHSM")
    with TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        yield Token(directory, patch).root_key("shared")


@contextmanager
def _moto() -> Iterator[Any]:
    from tests.root_keys.aws_service import AwsService

    service = AwsService()
    try:
        yield service.root_key()
    finally:
        service.close()


ROOT_KEYS = {
    "local": _local,
    "PKCS#11, SoftHSM": _softhsm,
    "Vault, OpenBao over TLS": _openbao,
    "AWS KMS, moto": _moto,
}


if __name__ == "__main__":
    main()
