"""What becomes of keys: each act, each state, and two operators at once."""

from contextlib import contextmanager
from datetime import timedelta

from django.conf import settings
from django.test import override_settings
from django.utils import timezone

from envelope_fields.databases import Database
from envelope_fields.lifecycle import (
    cancel_deletion,
    create_master_key,
    disable,
    rotate_master_key,
    schedule_deletion,
    shred,
)
from envelope_fields.models import AuditEvent, KeyCacheBound


def key_in(state, alias="tenant"):
    """Make a key, and bring it into a state the way that operators do."""
    key = create_master_key(alias)
    bring(key, state)
    return key


def version_in(state, alias="tenant"):
    """Make a key with two versions, and bring the older one into a state."""
    key = create_master_key(alias)
    rotate_master_key(key)
    version = key.versions.get(number=1)
    bring(version, state)
    return version


def bring(row, state):
    if state == "disabled":
        disable(row)
    elif state == "pending_deletion":
        schedule_deletion(row)
    elif state == "destroyed":
        with known_at_once():
            shred(row)


@contextmanager
def known_at_once():
    """Let no process go by what it knew of keys, so that shredding does not wait."""
    KeyCacheBound.objects.all().delete()
    with override_settings(ENVELOPE_FIELDS={**settings.ENVELOPE_FIELDS, "KEY_CACHE_SECONDS": 0}):
        yield


def ending(transaction):
    """Return what pauses, and lets a transaction end, as soon as that was seen."""
    pause = Database.pause

    def pause_and_end(database):
        transaction.may_end.set()
        pause(database)

    return pause_and_end


def events(key, *actions):
    """Return the actions of a key's events, oldest first."""
    found = AuditEvent.objects.filter(key_id=key.pk).order_by("number")
    return [event.action for event in found if not actions or event.action in actions]


def at(monkeypatch, **later):
    """Let every clock say that it is so much later."""
    now = timezone.now() + timedelta(**later)
    monkeypatch.setattr("django.utils.timezone.now", lambda: now)
    monkeypatch.setattr("envelope_fields.databases.now", lambda: now)
    return now


def sleeping(monkeypatch, pace=1):
    """Let `sleep` move every clock, and return for how long each was asked for."""
    slept = []

    def sleep(seconds):
        slept.append(seconds)
        at(monkeypatch, seconds=seconds * pace)

    monkeypatch.setattr("time.sleep", sleep)
    return slept


__all__ = ["at", "bring", "cancel_deletion", "events", "key_in", "known_at_once", "sleeping",
           "version_in"]  # fmt: skip
