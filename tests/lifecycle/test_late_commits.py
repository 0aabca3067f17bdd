"""A change is known to others from its commit on, however long that takes after it was written."""

from datetime import timedelta
from time import sleep

import pytest
from django.db import connection, transaction

from envelope_fields.conversion.column_phases import change_phase
from envelope_fields.conversion.phases import phase_row
from envelope_fields.keyring.index_rows import closes_at
from envelope_fields.lifecycle import create_master_key, disable, lower_key_cache_bound
from envelope_fields.lifecycle.index_states import begun_index, change_index_state, known_since
from envelope_fields.lifecycle.other_processes import known_everywhere
from envelope_fields.lifecycle.shredding import ready_to_shred_at
from envelope_fields.models import (
    BlindIndex,
    ColumnConversion,
    ColumnPhase,
    KeyCacheBound,
    MasterKey,
    StateChange,
)
from tests.models import converting

pytestmark = pytest.mark.django_db(transaction=True)

LATE = timedelta(seconds=0.3)
LABEL = "tests.thing.email_index"


@pytest.fixture(autouse=True)
def bound():
    KeyCacheBound.objects.update_or_create(
        pk=1, defaults={"seconds": 60, "seconds_before": 0, "lowered_at": None}
    )
    yield
    ColumnConversion.objects.all().delete()
    KeyCacheBound.objects.update(seconds=60, seconds_before=0, lowered_at=None)


def late(change):
    """Change something in a transaction that goes on."""
    with transaction.atomic():
        change()
        sleep(LATE.total_seconds())


def waited_beyond(known, changed_at):
    """Return by how much longer than `KEY_CACHE_SECONDS` others are waited for."""
    return known - changed_at - timedelta(seconds=60)


def change_conversion():
    field = converting.Visit._meta.get_field("report")
    late(lambda: change_phase(field, ColumnPhase.CLEAR, ColumnPhase.BOTH))
    row = phase_row(field)
    return known_everywhere(row.changed_at), row.changed_at


def change_index(to="verified"):
    BlindIndex.objects.create(
        label=LABEL, name=f"field:{LABEL}", normalizer="exact", normalizer_version=1,
        fingerprint="0" * 32,
    )  # fmt: skip
    late(lambda: change_index_state(LABEL, to))
    row = begun_index(LABEL)
    return known_since(row), row.state_changed_at


def close_index():
    change_index("retired")
    row = begun_index(LABEL)
    return closes_at(row), row.state_changed_at


def change_key():
    key = create_master_key("late")
    late(lambda: disable(key))
    return ready_to_shred_at(key), MasterKey.objects.get(pk=key.pk).state_changed_at


CHANGES = [change_conversion, change_index, close_index, change_key]


@pytest.mark.parametrize("change", CHANGES)
def test_others_are_waited_for_from_the_commit_on(change):
    known, changed_at = change()
    assert waited_beyond(known, changed_at) >= LATE


@pytest.mark.parametrize("change", CHANGES)
def test_process_that_died_after_its_commit(change, monkeypatch):
    """The first one that looks has seen that it was committed, and others go by that."""
    seen = "envelope_fields.models.state_changes._see_committed"
    with monkeypatch.context() as patched:
        patched.setattr(seen, lambda *_: None)
        change()
    change = StateChange.objects.latest("pk")
    assert change.committed_at is None
    sleep(0.1)
    first = known_everywhere(change.changed_at)
    assert waited_beyond(first, change.changed_at) >= LATE + timedelta(seconds=0.1)
    sleep(0.1)
    assert known_everywhere(change.changed_at) <= first + timedelta(seconds=0.05)


def test_bound_that_was_lowered_late():
    """A process that read keys before that goes by them for as long as the bound was before."""
    late(lambda: lower_key_cache_bound(1))
    key = create_master_key("late")
    disable(key)
    lowered_at = KeyCacheBound.objects.get().lowered_at
    assert waited_beyond(known_everywhere(key.state_changed_at), lowered_at) >= LATE


def test_not_before_it_is_committed():
    """Inside the transaction it is as if it were committed now, and nothing is kept of that."""
    key = create_master_key("late")
    with transaction.atomic():
        disable(key)
        sleep(0.1)
        known = known_everywhere(key.state_changed_at)
        assert waited_beyond(known, key.state_changed_at) >= timedelta(seconds=0.1)
        assert StateChange.objects.latest("pk").committed_at is None
    assert StateChange.objects.latest("pk").committed_at is not None


def test_that_is_rolled_back_leaves_nothing():
    key = create_master_key("late")
    before = StateChange.objects.count()
    with transaction.atomic():
        disable(key)
        transaction.set_rollback(True)
    assert StateChange.objects.count() == before


def test_change_from_before_they_were_kept():
    moment = MasterKey.objects.get(alias="default").state_changed_at
    assert waited_beyond(known_everywhere(moment), moment) == timedelta(0)


def test_before_its_table_is_made():
    """A plan that makes it may change a state first, and commands go on."""
    with connection.schema_editor() as editor:
        editor.delete_model(StateChange)
    try:
        key = create_master_key("early")
        with transaction.atomic():
            disable(key)
        assert waited_beyond(ready_to_shred_at(key), key.state_changed_at) == timedelta(0)
    finally:
        with connection.schema_editor() as editor:
            editor.create_model(StateChange)
