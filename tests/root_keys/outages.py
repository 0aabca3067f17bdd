"""Outages of a real service, seen by a project: its objects, its settings, and a clock.

What follows from each class of failure is tested without services, in
`tests/keyring/test_outages.py`. Here it is seen that what happens to a service has the effect that
the page says.
"""

import pytest
from django.db import transaction

from envelope_fields import exceptions, keyring
from envelope_fields.models import MasterKeyVersion
from tests.docs.pages import ROOT, Page
from tests.keyring.clock import Clock
from tests.keyring.outages import MAX_AGE, TIMES, goes_on_for, heals
from tests.models import Note
from tests.settings import ROOT_KEY

STEP = 150  # seconds; a service that does not answer takes its time whenever it is asked
VALUE = "seen in an outage"
LOCAL = "envelope_fields.root_keys.local.LocalRootKey"


def happenings():
    """Return the rows of the page's table of what happens, by their first cells."""
    page = Page(ROOT / "docs" / "explanation" / "root-key-outages.md")
    return {first: cells for first, *cells in page.tables["what happens"]}


def error_of(row):
    """Return the class of what is raised where a row of the table has happened."""
    return getattr(exceptions, happenings()[row][0].strip("`"))


class Outages:
    """What its tests have in common; `service` is a fixture where a class derives from it."""

    @pytest.fixture
    def clock(self, monkeypatch):
        return Clock(monkeypatch)

    @pytest.fixture
    def note(self, transactional_db, service, settings, clock):
        """A value under a master key that was moved to the service."""
        local = {"BACKEND": LOCAL, "OPTIONS": {"key": ROOT_KEY}}
        root_keys = {"service": service.entry(), "default": local}
        settings.ENVELOPE_FIELDS = {"ROOT_KEYS": root_keys, **TIMES}
        note = Note.objects.create(text=VALUE, data=None)
        row = keyring.rows.current_version("default")
        versions = MasterKeyVersion.objects.filter(version_id=row.state.version_id)
        versions.update(**keyring.rewrapped(row, "service"))
        keyring.evict()
        self.read(note)
        return note

    def read(self, note):
        assert Note.objects.get(pk=note.pk).text == VALUE

    def see(self, row, happens, note, clock):
        """See that a row of the page holds, for a running process and for a new one.

        Args:
            row: its first cell.
            happens: a context in which it has happened.
            note: what is read.
            clock: is moved.
        """
        _, seconds, new_processes, _ = happenings()[row]
        assert new_processes.startswith("raise it")
        with happens:
            goes_on_for(
                seconds,
                lambda: self.read(note),
                clock,
                error_of(row),
                or_less=MAX_AGE,
                step=STEP,
            )
            keyring.evict()
            for use in (self.read, self.write):
                with pytest.raises(error_of(row)):
                    use(note)
        heals(lambda: self.read(note), clock)
        self.write(note)

    def write(self, note):
        with transaction.atomic():
            Note.objects.create(text=VALUE, data=None)
