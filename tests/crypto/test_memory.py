"""No data key is left in memory: a child process works with keys, its memory is read from outside.

What is promised, and what not, is in docs/explanation/memory.md.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.crypto import memory_child, reference

REPOSITORY = Path(__file__).parents[2]
STEPS_WITHOUT_KEYS = (
    "write",
    "read",
    "write of nothing",
    "read with an altered payload",
    "read with an altered wrapping",
    "rewrap",
    "rewrap of altered wrappings",
)
LENT_BY_THE_KERNEL = (["[vvar]"], ["[vvar_vclock]"], ["[vsyscall]"])
CONTROL = "control: data keys left behind"

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="reads another process's memory in /proc, which is Linux's"
)


def regions(pid: int) -> list[tuple[int, int]]:
    """Return the readable parts of a process's memory, but for those the kernel lends it."""
    found = []
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        addresses, permissions, _, _, _, *name = line.split(maxsplit=5)
        if permissions.startswith("r") and name[:1] not in LENT_BY_THE_KERNEL:
            start, end = addresses.split("-")
            found.append((int(start, 16), int(end, 16)))
    return found


def memory(pid: int) -> list[bytes]:
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as file:
        parts = []
        for start, end in regions(pid):
            file.seek(start)
            part = file.read(end - start)
            assert len(part) == end - start
            parts.append(part)
        return parts


class Found(NamedTuple):
    """How many times each was found; a part of a key is one of its halves."""

    data_keys: list[int]
    data_key_parts: list[int]
    derived_key: int
    derived_key_parts: int
    master_key: int


def scan(haystack: list[bytes], master_key: bytes, envelopes: list[bytes]) -> Found:
    def count(*needles: bytes) -> int:
        return sum(part.count(needle) for part in haystack for needle in needles)

    derived = reference.derive(master_key, memory_child.PREFIX)
    data_keys = [reference.unwrap(master_key, stored, memory_child.CONTEXT) for stored in envelopes]
    return Found(
        [count(key) for key in data_keys],
        [count(key[:16], key[16:]) for key in data_keys],
        count(derived),
        count(derived[:16], derived[16:]),
        count(master_key),
    )


@pytest.fixture(scope="module")
def scans():
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.crypto.memory_child"],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    found = {}
    with child:
        master_key = bytes.fromhex(child.stdout.readline().decode())
        while child.stdout.readline():
            haystack = memory(child.pid)
            child.stdin.write(b"\n")
            child.stdin.flush()
            report = json.loads(child.stdout.readline())
            envelopes = [bytes.fromhex(stored) for stored in report["envelopes"]]
            found[report["step"]] = scan(haystack, master_key, envelopes)
    assert child.returncode == 0
    return found


def test_the_scan_finds_a_data_key_that_is_left_behind(scans):
    assert len(scans[CONTROL].data_keys) == memory_child.VALUES_PER_STEP
    assert all(scans[CONTROL].data_keys)
    assert all(scans[CONTROL].data_key_parts)


@pytest.mark.parametrize("step", STEPS_WITHOUT_KEYS)
def test_no_data_key_is_in_memory(scans, step):
    assert scans[step].data_keys == [0] * memory_child.VALUES_PER_STEP
    assert scans[step].data_key_parts == [0] * memory_child.VALUES_PER_STEP


def test_the_derived_key_goes_with_the_wrapping_key(scans):
    assert scans["write"].derived_key > 0
    assert scans["wrapping key dropped"].derived_key == 0
    assert scans["wrapping key dropped"].derived_key_parts == 0


def test_the_master_key_is_there_once_and_goes_when_wiped(scans):
    assert scans["write"].master_key == 1
    assert scans["wrapping key dropped"].master_key == 1
    assert scans["master key wiped"].master_key == 0
