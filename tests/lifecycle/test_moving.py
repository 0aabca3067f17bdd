"""Master keys that move while users read and write, and movers that are killed at any step."""

import signal

import pytest
from django.core.management import call_command
from django.db import connection

from envelope_fields import audit, keyring
from envelope_fields.keyring import rows
from envelope_fields.lifecycle import (
    create_master_key,
    rewrap_master_keys,
    rotate_master_key,
    under_other_root_keys,
)
from envelope_fields.models import AuditEvent, AuditKey, FurtherWrap, MasterKeyVersion
from tests.child import Command
from tests.lifecycle import users
from tests.models import TenantNote
from tests.other_process import OtherProcess
from tests.root_keys.backends import Service
from tests.waiting import until

pytestmark = pytest.mark.django_db(transaction=True, databases="__all__")


@pytest.fixture(autouse=True)
def root_keys(settings):
    before = settings.ENVELOPE_FIELDS["ROOT_KEYS"]
    roots = {**before, **Service.settings("one", "two", "three", one=["two"], three=["one"])}
    settings.ENVELOPE_FIELDS = {"ROOT_KEYS": roots, "KEY_CACHE_SECONDS": 1}
    Service.reset()
    yield roots
    Service.reset()


def round_is_over(other):
    """Return what is true once each user in another process has been through a whole round."""
    before = other("users.rounds()")
    return lambda: other("users.rounds()") >= before + 2


def test_no_value_is_unreadable_at_any_time(root_keys):
    users.first_values()
    with OtherProcess() as other:
        other(f"users.begin({root_keys!r})")
        until(round_is_over(other))
        for name in ("one", "three", "two", "default"):
            assert rewrap_master_keys(name).refused == []
            until(round_is_over(other))
        assert other("users.end()") > 8
    rewrap_master_keys("default")
    assert under_other_root_keys("default") == []
    assert {note.text for note in TenantNote.objects.all()} == {"first of lab", "first of ward"}
    assert audit.verify().intact


class Killed(BaseException):
    """Ends a process where it is, as SIGKILL does."""


class Steps:
    """Counts what a mover does, and kills it at one of its steps."""

    def __init__(self, last):
        self.left = last

    def __call__(self, *_):
        self.left -= 1
        if self.left < 0:
            raise Killed

    def statement(self, execute, sql, params, many, context):
        self()
        return execute(sql, params, many, context)


def moved_until(step):
    """Move to the root key "one" and die at a step; return whether that was the end of it."""
    steps = Steps(step)
    with pytest.MonkeyPatch.context() as patch:
        answer = Service._answer
        patch.setattr(Service, "_answer", lambda *given: (steps(), answer(*given)))
        try:
            with connection.execute_wrapper(steps.statement):
                rewrap_master_keys("one")
        except Killed:
            connection.close()  # what it has not committed is gone
            return False
    return True


def all_open():
    """See that every wrap of every version opens to what values are under."""
    keyring.evict()
    assert {note.text for note in TenantNote.objects.all()} == {"first of lab", "first of ward"}
    for version in MasterKeyVersion.objects.all():
        row = rows.with_version_id(bytes(version.version_id), usage=None)
        further = FurtherWrap.objects.filter(version_id=version.version_id)
        there = further.exclude(wrapped_material=b"").values_list("root_key", flat=True)
        for name in (row.wrap.root_key, *there):
            keyring.check_wrap(bytes(version.version_id), name)


def test_a_mover_may_be_killed_at_every_step():
    users.first_values()
    for step in range(1000):
        done = moved_until(step)
        all_open()
        if done:
            break
    assert step > 20
    assert under_other_root_keys("one") == []
    assert {version.root_key for version in MasterKeyVersion.objects.all()} == {"one"}
    assert AuditKey.objects.get().root_key == "one"
    versions = MasterKeyVersion.objects.count()
    assert FurtherWrap.objects.filter(root_key="two").count() == versions + 1
    moves = AuditEvent.objects.filter(action="rewrap_master_key")
    assert moves.count() == versions, "each was moved once"
    assert audit.verify().intact


@pytest.mark.any_django
def test_sigkill(root_keys, monkeypatch):
    users.first_values()
    for number in range(30):
        create_master_key(f"tenant/{number}")
    rotate_master_key("lab")
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "tests.moving_settings")
    with Command("rewrap_master_keys", "--to", "one") as mover:
        until(lambda: MasterKeyVersion.objects.filter(root_key="one").count() > 3)
        mover.kill()
        mover.communicate()
    assert mover.returncode == -signal.SIGKILL
    left = len(under_other_root_keys("one"))
    assert 0 < left < MasterKeyVersion.objects.count()
    all_open()
    call_command("rewrap_master_keys", to="one")
    assert under_other_root_keys("one") == []
    all_open()
    assert audit.verify().intact
