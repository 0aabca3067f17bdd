"""What one process does with what another did to the keys."""

import os
import signal

import pytest
from django.db import connection, connections

from envelope_fields import keyring
from envelope_fields.crypto import format as layout
from envelope_fields.lifecycle import disable, rotate_master_key
from envelope_fields.models import MasterKey
from tests.models import Note
from tests.other_process import OtherProcess
from tests.stored import stored, version_of

pytestmark = pytest.mark.django_db(transaction=True)

WRITE = "version_of(stored(Note.objects.create(text='theirs'), 'text')).hex()"


@pytest.fixture
def default_key():
    return MasterKey.objects.get(alias="default")


@pytest.fixture
def other_process(default_key):
    with OtherProcess() as process:
        yield process


def test_a_process_that_does_not_know_of_a_rotation_yet(default_key, other_process):
    old = default_key.current_version.version_id.hex()
    assert other_process(WRITE) == old
    new = rotate_master_key(default_key).version_id.hex()
    ours = Note.objects.create(text="ours")
    assert version_of(stored(ours, "text")).hex() == new

    # It goes on under the version that it knows, which stays, and reads what it never heard of.
    assert other_process(WRITE) == old
    assert other_process(f"Note.objects.get(pk={ours.pk}).text") == "ours"
    assert [note.text for note in Note.objects.order_by("pk")] == ["theirs", "ours", "theirs"]

    # Once its time is over it learns of it.
    other_process("setattr(keyring.cache.known.table, 'deadline', 0)")
    assert other_process(WRITE) == new


def test_a_process_is_denied_when_the_time_of_what_it_knows_is_over(default_key, other_process):
    note = Note.objects.create(text="value")
    read = f"Note.objects.get(pk={note.pk}).text"
    assert other_process(read) == "value"
    disable(default_key)
    assert other_process(read) == "value"
    other_process("setattr(keyring.cache.known.table, 'deadline', 0)")
    with pytest.raises(AssertionError, match=r"MasterKeyUnusable: tests.Note.text: .*disabled"):
        other_process(read)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_process_draws_a_nonce_prefix_of_its_own():
    Note.objects.create(text="parent")
    prefix = keyring.values.wrapping_key("default", "default").prefix
    reading, writing = os.pipe()
    # A child must not use its parent's connections; what it needs is read before.
    connections.close_all()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, keyring.values.wrapping_key("default", "default").prefix)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(reading, 100)
    os.close(reading)
    os.close(writing)
    assert len(theirs) == layout.NONCE_PREFIX_BYTES
    assert theirs != prefix
    assert keyring.values.wrapping_key("default", "default").prefix == prefix


def test_a_killed_process_leaves_whole_values(default_key, other_process):
    other_process("[Note.objects.create(text='x' * 1000) for _ in range(20)] and None")
    other_process.tell("[Note.objects.create(text='x' * 1000) for _ in range(100000)]")
    while Note.objects.count() < 40:
        pass
    other_process.process.send_signal(signal.SIGKILL)
    other_process.process.wait(timeout=30)
    connection.close()
    assert {note.text for note in Note.objects.all()} == {"x" * 1000}
