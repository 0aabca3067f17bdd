"""A run about several keys goes over each column once, and moves the values under all of them."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from envelope_fields import audit, rotation
from envelope_fields.exceptions import KeyAccessDenied, MasterKeyNotFound, MasterKeyUnusable
from envelope_fields.grants import grant, revoke
from envelope_fields.jobs.representation import run_content, run_title
from envelope_fields.jobs.runs import keys_of, runs_about, runs_of
from envelope_fields.lifecycle import create_master_key, disable, enable, rotate_master_key
from envelope_fields.models import AuditEvent, MasterKey, RotationKey, RotationRun, RotationState
from envelope_fields.rotation import Limits, RotationUnderWay
from tests.management import printed
from tests.models import Note, Renamed, TenantNote
from tests.rotation import interrupted, left, numbers_of, put
from tests.stored import stored, version_of

pytestmark = pytest.mark.django_db(databases="__all__")


def tenants(count, notes=3):
    """Make keys, store notes of each, mixed, and rotate the keys."""
    keys = [create_master_key(f"tenant-{number}") for number in range(count)]
    for number in range(notes):
        for key in keys:
            TenantNote.objects.create(tenant=key.alias, text=f"{number}", data=None)
    for key in keys:
        rotate_master_key(key)
    return keys


def counted(work):
    """Return how many statements count values while something is done, and its result."""
    with CaptureQueriesContext(connection) as queries:
        result = work()
    return sum("count(*)" in each["sql"] for each in queries), result


@pytest.mark.parametrize("kind", ["rewrap", "re_encrypt"])
def test_all_values_move(kind):
    keys = tenants(3)
    run = rotation.run(keys, kind=kind, limits=Limits(batch_size=4))
    assert (run.state, run.pass_number, numbers_of(run)) == (RotationState.COMPLETED, 1, (9, 9, 0))
    for key in keys:
        assert left(key) == 0
    for note in TenantNote.objects.all():
        current = MasterKey.objects.get(alias=note.tenant).current_version
        assert version_of(stored(note, "text")) == bytes(current.version_id)
    assert sorted(TenantNote.objects.values_list("text", flat=True)) == sorted("012" * 3)
    rows = RotationKey.objects.order_by("pk").values_list("total", "remaining", "active_key")
    assert list(rows) == [(3, 0, None)] * 3


def test_values_under_other_keys_are_left_alone():
    keys = tenants(3)
    rotation.run(keys[:2])
    assert [left(key) for key in keys] == [0, 0, 3]


def test_each_column_is_counted_as_often_for_many_keys_as_for_few():
    few, _ = counted(lambda: rotation.run(tenants(2)[:1]))
    TenantNote.objects.all().delete()
    RotationRun.objects.all().delete()
    keys = [create_master_key(f"more-{number}") for number in range(20)]
    for key in keys:
        TenantNote.objects.create(tenant=key.alias, text="x", data=None)
        rotate_master_key(key)
    many, run = counted(lambda: rotation.run(keys))
    assert numbers_of(run) == (20, 20, 0)
    assert many == few


def test_more_keys_than_a_query_names(monkeypatch):
    monkeypatch.setattr("envelope_fields.databases.IN_A_QUERY", 2)
    keys = tenants(5)
    run = rotation.run(keys, limits=Limits(batch_size=4))
    assert (run.state, numbers_of(run)) == (RotationState.COMPLETED, (15, 15, 0))


def test_a_key_is_in_one_run_at_a_time():
    first, second, third = tenants(3)
    run = rotation.start([first, second])
    assert sorted(map(str, keys_of(run))) == ["tenant-0", "tenant-1"]
    assert rotation.active_run(second) == run
    with pytest.raises(RotationUnderWay, match=str(run.pk)):
        rotation.start(second)
    with pytest.raises(RotationUnderWay, match=str(run.pk)):
        rotation.start([second, third])
    rotation.start(third)
    rotation.cancel(run)
    assert rotation.start(second).state == RotationState.PENDING


def test_one_key_of_a_list_is_as_one_key():
    (key,) = tenants(1)
    run = rotation.run([key])
    assert (run.master_key, numbers_of(run)) == (key, (3, 3, 0))


def test_a_run_is_about_one_key_at_least():
    with pytest.raises(ValueError, match="one key"):
        rotation.start([])


def test_a_key_that_is_not_there():
    first, second = tenants(2)
    with pytest.raises(MasterKeyNotFound):
        rotation.start([first, second, MasterKey(alias="nope")])
    with pytest.raises(MasterKeyNotFound, match="no version 7"):
        rotation.start([first, second], versions=[7])


def test_the_trail_has_an_event_for_each_key():
    keys = tenants(2)
    run = rotation.start(keys)
    rotation.pause(run)
    rotation.run(run)
    events = AuditEvent.objects.filter(action__contains="rotation").order_by("number")
    acts = ["start_rotation", "pause_rotation", "resume_rotation", "complete_rotation"]
    assert {event.key_id for event in events} == {key.pk for key in keys_of(run)}
    for key in keys:
        of_key = [event for event in events if event.key_id == key.pk]
        assert [event.action for event in of_key] == acts
        assert {event.key_alias for event in of_key} == {key.alias}
        assert {event.after["run"] for event in of_key} == {str(run.pk)}
    assert events.last().after["moved"] == 6
    assert audit.verify().problems == []


class TestKeysThatCannotBeUsed:
    def test_one_that_is_disabled_is_not_started_with(self):
        first, second = tenants(2)
        disable(first)
        with pytest.raises(MasterKeyUnusable, match="enable the key"):
            rotation.start([first, second])

    @pytest.mark.parametrize("kind", ["rewrap", "re_encrypt"])
    def test_one_that_is_disabled_meanwhile_keeps_no_other_back(self, kind):
        keys = tenants(3)
        run = rotation.start(keys, kind=kind)
        disable(keys[1])
        run = rotation.run(run)
        assert (run.state, numbers_of(run)) == (RotationState.COMPLETED, (9, 6, 3))
        assert {failure.cause for failure in rotation.failures(run)} == {"MasterKeyUnusable"}
        assert [left(key) for key in keys] == [0, 3, 0]
        enable(keys[1])
        assert numbers_of(rotation.run(keys[1], kind=kind)) == (3, 3, 0)

    def test_rights_on_each(self, django_user_model):
        user = django_user_model.objects.create_user("nora")
        keys = tenants(2)
        grant(keys[0], user, ["re_encrypt"])
        with pytest.raises(KeyAccessDenied):
            rotation.start(keys, actor=user)
        given = grant(keys[1], user, ["re_encrypt"])
        run = rotation.start(keys, actor=user)
        revoke(given)
        with pytest.raises(KeyAccessDenied):
            rotation.pause(run, actor=user)
        assert numbers_of(rotation.run(run)) == (6, 3, 3)

    def test_a_key_without_versions_in_the_database(self):
        """A value that names a version which no row has is none of the run's."""
        keys = tenants(2)
        note = TenantNote.objects.first()
        put(note, "text", b"\x01" + b"\xff" * 120)
        assert numbers_of(rotation.run(keys)) == (5, 5, 0)


def test_killed_and_run_again():
    keys = tenants(4)
    run = interrupted(rotation.start(keys, limits=Limits(batch_size=5)))
    assert (run.state, sum(map(left, keys))) == (RotationState.RUNNING, 7)
    run = rotation.run(run)
    assert (run.state, numbers_of(run)) == (RotationState.COMPLETED, (12, 12, 0))


def test_a_bad_row_is_reported():
    keys = tenants(2)
    note = TenantNote.objects.order_by("pk")[1]
    value = bytearray(stored(note, "text"))
    value[60] ^= 1
    put(note, "text", bytes(value))
    run = rotation.run(keys)
    assert numbers_of(run) == (6, 5, 1)
    assert [failure.row for failure in rotation.failures(run)] == [str(note.pk)]
    by_key = {row.master_key.alias: (row.total, row.remaining) for row in run.keys.all()}
    assert by_key == {"tenant-0": (3, 0), "tenant-1": (3, 1)}


def test_what_is_looked_at_under_current_versions():
    """A renamed field: the headers do not tell which values move."""
    (key,) = tenants(1)
    default = MasterKey.objects.get(alias="default")
    Renamed.objects.create(text="x")
    run = rotation.run([key, default])
    assert run.state == RotationState.COMPLETED
    assert numbers_of(run)[1:] == (3, 0)


class TestWhatIsSaid:
    def test_content(self):
        keys = tenants(2)
        content = run_content(rotation.run(keys))
        assert content["key"] is None
        assert [(each["alias"], each["total"], each["remaining"]) for each in content["keys"]] == [
            ("tenant-0", 3, 0), ("tenant-1", 3, 0),
        ]  # fmt: skip
        assert "keys" not in run_content(rotation.run(keys[0]))

    def test_titles(self):
        first, second, third = tenants(3)
        assert run_title(rotation.start(first)) == "tenant-0"
        assert run_title(rotation.start([second, third])) == "2 keys"
        everything = RotationRun.objects.create(kind="rewrap", actor_type="application")
        assert run_title(everything) == "all keys"

    def test_who_sees_which_runs(self):
        first, second, third = tenants(3)
        of_two, of_one = rotation.start([first, second]), rotation.start(third)
        everything = MasterKey.objects.all()
        assert set(runs_of(everything)) == {of_two, of_one}
        assert set(runs_of(everything.filter(pk__in=[first.pk, third.pk]))) == {of_one}
        assert set(runs_about(second)) == {of_two}

    def test_the_command(self):
        keys = tenants(3)
        Note.objects.create(text="a", data=None)
        disable(keys[2])
        out = StringIO()
        with pytest.raises(CommandError, match="under tenant-2 were not moved: it is disabled"):
            call_command("rewrap", stdout=out)
        text = out.getvalue()
        assert "tenant-0: 3 values rewrapped, 0 failed" in text
        assert "2 keys: 6 values rewrapped, 0 failed" in text
        assert [left(key) for key in keys] == [0, 0, 3]
        assert "No rotation is under way" in printed("rotation_runs")
        assert "  2 keys  rewrap  completed  6 of 6" in printed("rotation_runs", all=True)

    def test_the_command_goes_on_with_what_was_killed(self):
        keys = tenants(3)
        run = interrupted(rotation.start(keys, limits=Limits(batch_size=5)))
        assert f"Run {run.pk}: completed" in printed("rewrap")
        assert RotationRun.objects.count() == 1
