"""Ctrl-C and SIGTERM, wherever they come: what was moved is counted, in the run and the trail."""

import os
import signal

import pytest
from django.core.management import CommandError, call_command
from django.db import connections

from envelope_fields import keyring, rotation
from envelope_fields.jobs import ranges
from envelope_fields.jobs.batches import deferred_signals
from envelope_fields.jobs.throttle import RateLimit
from envelope_fields.lifecycle import create_master_key, rotate_master_key
from envelope_fields.models import AuditEvent, RotationRun, RotationState
from envelope_fields.rotation import Limits
from tests.models import Note, keyed
from tests.rotation import left, numbers_of

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])

ROWS = 12


@pytest.fixture(autouse=True)
def _only_notes(monkeypatch):
    monkeypatch.setattr("envelope_fields.census.columns.apps", keyed.only(Note))


@pytest.fixture
def notes():
    Note.objects.using("default").bulk_create(Note(text=f"{n}", data=None) for n in range(ROWS))
    rotate_master_key("default")


@pytest.fixture
def keys_elsewhere(settings):
    settings.ENVELOPE_FIELDS = {**settings.ENVELOPE_FIELDS, "DATABASE": "other"}
    keyring.evict()
    create_master_key("default")
    yield
    keyring.evict()


def first_time(act):
    """Return a function that acts once."""
    acts = [act]

    def once(*args, **kwargs):
        if acts:
            acts.pop()()

    return once


def interrupt():
    os.kill(os.getpid(), signal.SIGTERM)


def assert_goes_on(using="default"):
    run = RotationRun.objects.using(using).get()
    assert run.state == RotationState.PAUSED
    assert 0 < left("default") < ROWS
    assert rotation.progress(run).moved == ROWS - left("default")
    call_command("rewrap", verbosity=0)
    run.refresh_from_db(using=using)
    assert (run.state, numbers_of(run)) == (RotationState.COMPLETED, (ROWS, ROWS, 0))
    event = AuditEvent.objects.using(using).get(action="complete_rotation")
    assert (event.after["moved"], event.after["failed"]) == (ROWS, 0)


def rewrap():
    with pytest.raises(CommandError, match="is paused"):
        call_command("rewrap", batch_size=5, verbosity=0)


def test_in_a_rest(notes, monkeypatch):
    monkeypatch.setattr(RateLimit, "after", first_time(interrupt))
    rewrap()
    assert_goes_on()


def test_in_a_rest_with_keys_elsewhere(keys_elsewhere, notes, monkeypatch):
    monkeypatch.setattr(RateLimit, "after", first_time(interrupt))
    rewrap()
    assert_goes_on("other")


@pytest.mark.parametrize("alias", ["default", "other"])
def test_while_two_databases_commit(alias, keys_elsewhere, notes, monkeypatch):
    """Each commits for itself, and nothing comes between them."""
    commit, moved = connections[alias].commit, ranges.record_moved
    counted, interrupted = [], first_time(interrupt)

    def counts(chunk, values):
        moved(chunk, values)
        counted.append(values)

    def commits():
        commit()
        if counted:
            interrupted()

    monkeypatch.setattr(ranges, "record_moved", counts)
    monkeypatch.setattr(connections[alias], "commit", commits)
    rewrap()
    assert_goes_on("other")


def test_where_a_later_value_stops_the_run(notes, monkeypatch):
    """What was moved before is counted, too."""
    from envelope_fields.exceptions import MasterKeyUnusable
    from envelope_fields.rotation.rewrap import Rewrap

    moves = Rewrap.process
    monkeypatch.setattr(
        "envelope_fields.jobs.batches.portions",
        lambda stored, by_size: [stored[:2], stored[2:]],
    )

    def stops(self, stored):
        if len(stored) > 2:
            raise MasterKeyUnusable("its key was disabled meanwhile")
        return moves(self, stored)

    with monkeypatch.context() as patch:
        patch.setattr(Rewrap, "process", stops)
        with pytest.raises(MasterKeyUnusable):
            rotation.run("default", limits=Limits(batch_size=5))
    assert rotation.progress(RotationRun.objects.get()).moved == 2 == ROWS - left("default")


class TestPutOff:
    @pytest.fixture(autouse=True)
    def came(self):
        came = []
        before = signal.signal(signal.SIGTERM, lambda *given: came.append(given[0]))
        yield came
        signal.signal(signal.SIGTERM, before)

    def test_until_the_end(self, came):
        with deferred_signals():
            interrupt()
            assert came == []
        assert came == [signal.SIGTERM]

    def test_also_after_an_error(self, came):
        handler = signal.getsignal(signal.SIGTERM)
        with pytest.raises(ValueError, match="of the block"), deferred_signals():
            raise ValueError("of the block")
        assert signal.getsignal(signal.SIGTERM) is handler

    def test_what_came_before_an_error_is_not_forgotten(self, came):
        with pytest.raises(ValueError, match="of the block"), deferred_signals():
            interrupt()
            raise ValueError("of the block")
        assert came == [signal.SIGTERM]

    def test_what_ends_the_process_is_left_alone(self, came):
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        with deferred_signals():
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
