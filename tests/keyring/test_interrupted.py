"""Reading a value in the middle of what this very thread does with keys, as signal handlers do.

A lock that this thread holds already would never be given to it: after a time the test fails
instead of waiting.
"""

import signal
import sys
from contextlib import contextmanager

import pytest
from django.db import transaction

from envelope_fields import keyring, policy
from envelope_fields.audit import denials
from envelope_fields.conf import configuration
from envelope_fields.crypto.format import header
from envelope_fields.keyring import materials, table, uses, values, wrapping
from envelope_fields.lifecycle import find_master_key
from envelope_fields.models import key_changes

pytestmark = [pytest.mark.django_db, pytest.mark.any_database]

INTERRUPTED = ("/keyring/", "/models/key_changes.py", "/audit/denials.py")
SECONDS = 60


@pytest.fixture
def version_id(monkeypatch):
    monkeypatch.setattr(table, "UNWRAPPING_KEYS", 8)
    keyring.evict()
    # Of a key that is committed: nothing is kept of others.
    return bytes(find_master_key("default").current_version.version_id)


@contextmanager
def interrupting(handler):
    """Call `handler` before each step that code inside makes in certain modules; yield how often.

    As the interpreter calls signal handlers: between two instructions, in the same thread.
    """
    times = [0]

    def step(frame, event, _):
        if not any(name in frame.f_code.co_filename for name in INTERRUPTED):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            times[0] += 1
            handler()
        return step

    def late(*_):
        raise AssertionError(f"no end after {SECONDS} s: a lock waits for its own thread")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(SECONDS)
    outer = sys.gettrace()
    sys.settrace(step)
    try:
        yield times
    finally:
        sys.settrace(outer)
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


class Reader:
    """Opens data keys under a version, each with a key that was not derived before."""

    def __init__(self, version_id):
        self._header = header(version_id)
        self._number = 0

    def __call__(self):
        self._number += 1
        assert values.unwrapping_key(self._header + self._number.to_bytes(12, "big")) is not None
        # What interrupts itself may keep one more.
        assert len(keyring.cache.known.table.unwrapping) <= table.UNWRAPPING_KEYS + 1


def denied():
    denials.note(policy.Denial(policy.ANONYMOUS, policy.Action.DECRYPT, None, "default"))
    list(denials.buffer.repeats.over(0))


ACTS = {
    "reading": lambda version_id: Reader(version_id)(),
    "writing": lambda _: values.wrapping_key("default", "tests.note.text"),
    "counting uses": lambda version_id: uses.count_many({version_id: 2}, uses.MOVE_VALUE),
    "counting refusals": lambda version_id: uses.refused(version_id, uses.MOVE_VALUE),
    "harvesting": lambda _: uses.harvest(),
    "forgetting": lambda _: keyring.forget(),
    "dropping a version": lambda version_id: keyring.cache.known.table.forget_version(version_id),
    "what a change forgets": lambda _: key_changes.announce_new_user(),
    "wiping what is over": lambda _: materials.wipe_what_is_over(),
    "making a root key": lambda _: wrapping._root_key(configuration().root_keys["default"]),
    "a denial": lambda _: denied(),
}


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
@pytest.mark.parametrize("is_warm", [True, False])
def test_a_handler_reads_at_any_moment(version_id, monkeypatch, act, is_warm):
    monkeypatch.setattr(wrapping, "_made", {})
    read = Reader(version_id)
    if is_warm:
        for _ in range(table.UNWRAPPING_KEYS):
            read()
    with interrupting(read) as times:
        act(version_id)
    assert times[0] > 5
    read()


def test_evicting(version_id):
    """What the handler opens meanwhile may be kept: it was asked for after the eviction began."""
    read = Reader(version_id)
    read()
    with interrupting(read):
        keyring.evict()
    for material in materials._plaintext.values():
        assert any(material)
    read()


def test_while_keys_are_changed(version_id):
    """What is not committed is seen at each moment from its announcement on (law 3)."""
    seen = []
    with transaction.atomic():
        with interrupting(lambda: seen.append(key_changes.uncommitted())):
            key_changes.announce("default")
        assert key_changes.uncommitted() is not None
        assert seen[0] is None
        assert seen[-1] is not None
        assert None not in seen[next(n for n, each in enumerate(seen) if each) :]
        with interrupting(Reader(version_id)) as times:
            key_changes.uncommitted()
        assert times[0] > 5
