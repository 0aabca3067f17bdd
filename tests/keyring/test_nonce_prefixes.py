"""Whose nonce prefix a value has: that of its field, for as many values as the spec says."""

import os

import pytest
from django.db import connections

from envelope_fields import keyring, kms, rotation
from envelope_fields.keyring import table
from envelope_fields.lifecycle import rotate_master_key
from tests.models import Chart, Note
from tests.stored import stored

CONTEXT = {"file": "scan-1.dcm"}


@pytest.fixture(autouse=True)
def nothing_is_known():
    """Prefixes that other tests have begun would end in the middle of these."""
    keyring.forget()


def prefix(row, name):
    return stored(row, name)[9:21]


@pytest.mark.django_db
def test_each_field_has_its_own():
    """Who reads the database sees which values of a field were written in a row, and no more."""
    notes = [Note.objects.create(text=f"{n}", data=n) for n in range(3)]
    chart = Chart.objects.create(values=1)
    prefixes = [
        *({prefix(note, "text") for note in notes}),
        *({prefix(note, "data") for note in notes}),
        prefix(chart, "values"),
    ]
    assert len(prefixes) == len(set(prefixes)) == 3


@pytest.mark.django_db
def test_it_serves_so_many_values_of_the_field(monkeypatch):
    monkeypatch.setattr(table, "WRAPS_PER_PREFIX", 4)
    keyring.forget()  # so that what is known is not over in the middle
    notes = [Note.objects.create(text=f"{n}", data=n) for n in range(8)]
    for name in ("text", "data"):
        prefixes = [prefix(note, name) for note in notes]
        assert len(set(prefixes[:4])) == len(set(prefixes[4:])) == 1
        assert prefixes[0] != prefixes[4]


@pytest.mark.django_db
def test_what_kms_gives_out_has_one_each():
    given = [kms.encrypt("default", b"a", CONTEXT) for _ in range(3)]
    given += [kms.generate_data_key_without_plaintext("default", CONTEXT) for _ in range(3)]
    assert len({each[9:21] for each in given}) == 6


@pytest.mark.django_db
def test_not_more_are_kept_than_fit(monkeypatch):
    monkeypatch.setattr(table, "WRAPPING_KEYS", 2)
    keyring.forget()
    for _ in range(2):
        for field in ("a.B.c", "a.B.d", "a.B.e"):
            keyring.values.wrapping_key("default", "default", field)
    assert len(keyring.cache.known.table.wrapping) == 2


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_process_draws_its_own_for_every_field():
    Note.objects.create(text="parent", data=1)
    places = [Note._meta.get_field(name).field_path for name in ("text", "data")]
    before = [keyring.values.wrapping_key("default", "default", place).prefix for place in places]
    reading, writing = os.pipe()
    connections.close_all()  # a child must not use its parent's connections
    child = os.fork()
    if child == 0:
        try:
            for place in places:
                os.write(writing, keyring.values.wrapping_key("default", "default", place).prefix)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(reading, 100)
    os.close(reading)
    os.close(writing)
    assert len({*before, theirs[:12], theirs[12:]}) == 4


@pytest.mark.django_db(transaction=True, databases="__all__")
def test_a_rotation_draws_one_for_each_batch_of_a_field():
    notes = [Note.objects.create(text=f"{n}", data=n) for n in range(3)]
    rotate_master_key("default")
    rotation.run(rotation.start("default"))
    by_field = [{prefix(note, name) for note in notes} for name in ("text", "data")]
    assert [len(prefixes) for prefixes in by_field] == [1, 1]
    assert by_field[0] != by_field[1]
