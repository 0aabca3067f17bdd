"""Users who read and write in a process of their own, while something is done to keys.

`OtherProcess` evaluates `users.begin(…)` and the others there.
"""

from itertools import count
from threading import Event, Thread

from django.db import connections
from django.test import override_settings

from envelope_fields import keyring
from envelope_fields.lifecycle import create_master_key, rotate_master_key
from tests.models import TenantNote

TENANTS = ("lab", "ward")


class User(Thread):
    """Reads all values and writes one, again and again, each time as a process that begins.

    Attributes:
        rounds: how often that was done.
        error: what went wrong; it ends them.
    """

    def __init__(self, number, rotates):
        super().__init__(daemon=True)
        self._number, self._rotates = number, rotates
        self._over = Event()
        self.rounds = 0
        self.error = None

    def run(self):
        try:
            for number in count():
                if self._over.is_set():
                    break
                self._round(number)
                self.rounds += 1
        except Exception as error:
            self.error = f"{type(error).__name__}: {error}"
        finally:
            connections.close_all()

    def end(self):
        self._over.set()
        self.join(60)

    def _round(self, number):
        keyring.evict()
        texts = {note.text for note in TenantNote.objects.all()}
        assert {f"first of {tenant}" for tenant in TENANTS} <= texts
        assert all(text.startswith(("first of ", "written by ")) for text in texts)
        written = f"written by {self._number}: {number}"
        note = TenantNote.objects.create(tenant=TENANTS[number % 2], text=written)
        assert TenantNote.objects.get(pk=note.pk).text == written
        note.delete()  # or there would be more to read each time
        if self._rotates and number % 20 == 0:
            rotate_master_key("ward")


class Users:
    """Those of this process."""

    def __init__(self, root_keys, number):
        setting = {"ROOT_KEYS": root_keys, "KEY_CACHE_SECONDS": 1}
        self._settings = override_settings(ENVELOPE_FIELDS=setting)
        self._settings.enable()
        self._users = [User(each, rotates=each == 0) for each in range(number)]
        for user in self._users:
            user.start()

    def rounds(self):
        """Return how many rounds the slowest has made, or what went wrong."""
        errors = [user.error for user in self._users if user.error]
        assert not errors, errors
        return min(user.rounds for user in self._users)

    def end(self):
        for user in self._users:
            user.end()
        self._settings.disable()
        return self.rounds()


_there = []


def begin(root_keys, number=2):
    """Let users begin who have these root keys."""
    _there.append(Users(root_keys, number))


def rounds():
    return _there[-1].rounds()


def end():
    return _there.pop().end()


def first_values():
    """Make what all of them read."""
    for tenant in TENANTS:
        create_master_key(tenant)
        TenantNote.objects.create(tenant=tenant, text=f"first of {tenant}")
