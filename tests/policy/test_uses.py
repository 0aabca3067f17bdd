"""Uses are counted for each key version, action and channel, and none is lost."""

import os

import pytest

from envelope_fields import keyring, kms
from envelope_fields.exceptions import KeyAccessDenied
from envelope_fields.lifecycle import rotate_master_key
from envelope_fields.policy import Action, acting_as
from tests.at_once import at_once
from tests.keyring import harvest_uses
from tests.models import LabNote, Note

pytestmark = pytest.mark.django_db(transaction=True)

CONTEXT = {"purpose": "tests"}


@pytest.fixture(autouse=True)
def _harvested():
    harvest_uses()


def current(key):
    return bytes(key.current_version.version_id)


def test_values_of_fields(lab):
    version = current(lab)
    notes = LabNote.objects.bulk_create(LabNote(text=str(number)) for number in range(5))
    assert len([note.text for note in LabNote.objects.all()]) == 5
    assert [note.text for note in LabNote.objects.filter(pk=notes[0].pk)] == ["0"]
    assert harvest_uses() == {
        (version, "encrypt", "fields"): 5,
        (version, "decrypt", "fields"): 6,
    }
    assert harvest_uses() == {}
    assert LabNote.objects.get(pk=notes[0].pk).text == "0"
    assert harvest_uses() == {(version, "decrypt", "fields"): 1}


def test_operations_of_kms(lab):
    first = current(lab)
    made = kms.encrypt("lab", b"x", CONTEXT)
    second = bytes(rotate_master_key(lab).version_id)
    kms.decrypt(made, CONTEXT)
    kms.generate_data_key_without_plaintext("lab", CONTEXT)
    kms.re_encrypt(made, CONTEXT, "lab")
    assert harvest_uses() == {
        (first, "encrypt", "kms"): 1,
        (first, "decrypt", "kms"): 1,
        (first, "re_encrypt", "kms"): 1,
        (second, "generate_data_key", "kms"): 1,
        (second, "re_encrypt", "kms"): 1,
    }


def test_a_use_that_is_refused_is_none(lab, ann):
    note = LabNote.objects.create(text="x")
    harvest_uses()
    with acting_as(ann), pytest.raises(KeyAccessDenied):
        note.refresh_from_db()
    assert harvest_uses() == {}


def test_a_users_use_counts_too(lab, ann, granted):
    granted(lab, ann, Action.DECRYPT)
    note = LabNote.objects.create(text="x")
    harvest_uses()
    with acting_as(ann):
        for _ in range(3):
            note.refresh_from_db()
    assert harvest_uses() == {(current(lab), "decrypt", "fields"): 3}


def test_forgetting_keys_forgets_no_use(lab):
    LabNote.objects.create(text="x")
    keyring.forget()
    LabNote.objects.create(text="x")
    keyring.evict()
    assert harvest_uses() == {(current(lab), "encrypt", "fields"): 2}


def test_prefixes_that_are_used_up(lab, monkeypatch):
    monkeypatch.setattr(keyring.table, "WRAPS_PER_PREFIX", 3)
    for _ in range(10):
        keyring.values.wrapping_key("lab", "default")
    assert harvest_uses() == {(current(lab), "encrypt", "fields"): 10}


def test_threads_lose_none_while_somebody_harvests(lab):
    harvested = []

    def use():
        for _ in range(2000):
            keyring.values.wrapping_key("lab", "default")

    def harvest():
        for _ in range(200):
            harvested.append(harvest_uses())

    at_once(use, use, use, harvest, harvest)
    harvested.append(harvest_uses())
    assert sum(sum(uses.values()) for uses in harvested) == 6000


def test_a_forked_process_counts_its_own():
    Note.objects.create(text="x")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, repr(sum(harvest_uses().values())).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 10) == b"0"
    os.close(reading)
    os.close(writing)
    assert sum(harvest_uses().values()) == 2, "a note has two values"
