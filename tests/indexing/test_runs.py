"""The runs of an index: recorded, limited, paused, killed and run again, and on whose behalf."""

import json
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from envelope_fields import rotation
from envelope_fields.exceptions import IndexNotReady, KeyAccessDenied
from envelope_fields.grants import grant, revoke
from envelope_fields.indexing import (
    active_run,
    change_state,
    find_indexes,
    run,
    runs,
    start,
    states,
)
from envelope_fields.indexing.rebuild import Rebuild
from envelope_fields.jobs.representation import progress, run_content
from envelope_fields.jobs.runs import RotationUnderWay, runs_about
from envelope_fields.jobs.throttle import Limits
from envelope_fields.keyring import uses
from envelope_fields.lifecycle import create_master_key
from envelope_fields.models import (
    AuditEvent,
    BlindIndex,
    IndexState,
    KeyUsage,
    MasterKey,
    RotationKind,
    RotationRun,
    RotationState,
)
from envelope_fields.policy import APPLICATION, Action, acting_as
from envelope_fields.rotation import failures
from tests.models.indexed import Guarded, Member, Person, Sealed, Tenant
from tests.rotation import Killed, with_worker

pytestmark = [pytest.mark.django_db(databases="__all__"), pytest.mark.usefixtures("known_at_once")]

LABEL = "tests.person.email_index"
REBUILD, VERIFY = RotationKind.REBUILD_INDEX, RotationKind.VERIFY_INDEX


def execute(sql, *params):
    with connection.cursor() as cursor:
        cursor.execute(sql, params)


def index_of(model, name):
    return model._meta.get_field(name)


def begin(kind=REBUILD, index=None, **options):
    return start(index or index_of(Person, "email_index"), kind, using="default", **options)


def left():
    return Person.objects.filter(email_index__isnull=True, email__isnull=False).count()


@pytest.fixture
def people():
    found = [Person.objects.create(email=f"Ada{number}@Example.org") for number in range(6)]
    Person.objects.create(email=None)
    BlindIndex.objects.filter(label=LABEL).update(state=IndexState.FILLING)
    execute("UPDATE tests_person SET email_index = NULL")
    return found


def interrupted(begun):
    """Work on a run for one batch, and die."""

    def kill(batch):
        raise Killed

    with pytest.raises(Killed):
        run(begun, watch=kill)
    return rotation.find_run(begun)


class TestRuns:
    def test_what_is_recorded(self, people):
        done = run(begin())
        said = run_content(done)
        assert (said["kind"], said["state"], said["fields"]) == (
            "rebuild_index", "completed", ["tests.Person.email_index"],
        )  # fmt: skip
        assert (said["total"], said["moved"], said["failed"], said["left"]) == (7, 6, 0, 0)
        assert said["progress"][0]["field"] == "tests.Person.email_index"
        assert {key["alias"] for key in said["keys"]} == {"default", "search"}
        search = MasterKey.objects.get(alias="search")
        assert list(runs_about(search)) == [done]
        events = AuditEvent.objects.filter(key_id=search.pk).order_by("number")
        assert [event.action for event in events][-2:] == ["rebuild_index", "complete_rotation"]
        assert events.last().after["run"] == str(done.pk)

    def test_killed_and_run_again(self, people):
        begun = interrupted(begin(limits=Limits(batch_size=2)))
        assert (begun.state, left()) == ("running", 4)
        assert begin() == begun
        assert run(begun).state == RotationState.COMPLETED
        assert left() == 0
        assert progress(begun).moved == 6

    def test_pause_and_resume(self, people):
        begun = begin(limits=Limits(batch_size=2))
        paused = run(begun, watch=lambda batch: rotation.pause(begun))
        assert (paused.state, left()) == ("paused", 4)
        call_command("rewrap", run=str(begun.pk), verbosity=0)
        assert (rotation.find_run(begun).state, left()) == ("completed", 0)

    def test_cancelled(self, people):
        begun = begin(limits=Limits(batch_size=2))
        assert run(begun, watch=lambda batch: rotation.cancel(begun)).state == "cancelled"
        assert active_run(index_of(Person, "email_index")) is None
        assert begin() != begun

    def test_one_at_a_time(self, people):
        begun = begin(VERIFY)
        with pytest.raises(RotationUnderWay, match=f"index {LABEL} has a run .*{begun.pk}") as way:
            begin(REBUILD)
        assert way.value.run == begun
        # Of another index, and a rotation of the key of its values, it keeps none.
        assert begin(REBUILD, index_of(Sealed, "value_index"))
        assert rotation.run("default").state == RotationState.COMPLETED

    def test_one_after_another_of_two_operators(self, people):
        """The other one's command is at its verification already: both end well."""
        verification = interrupted(begin(VERIFY, limits=Limits(batch_size=2)))
        report = states.bring_to(find_indexes([LABEL]))
        assert [each.kind for each in report.runs] == [REBUILD]
        assert rotation.find_run(verification).state == RotationState.COMPLETED
        assert (report.is_right, left()) == (True, 0)

    def test_the_run_of_another_that_stays_is_an_error(self, people):
        verification = begin(VERIFY)
        with pytest.raises(RotationUnderWay, match=str(verification.pk)):
            states.bring_to(find_indexes([LABEL]), work=lambda begun: begun)

    def test_it_is_listed(self, people, capsys):
        begun = begin()
        call_command("rotation_runs")
        line = capsys.readouterr().out
        assert f"{begun.pk}  tests.Person.email_index  rebuild_index  pending" in line

    def test_a_worker_does_it(self, people, settings, django_capture_on_commit_callbacks):
        told = []
        with_worker(settings, "process.ProcessWorker")
        from envelope_fields.jobs.workers.process import ProcessWorker

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ProcessWorker, "begin", lambda worker, run_id: told.append(run_id))
            with django_capture_on_commit_callbacks(execute=True):
                index = index_of(Person, "email_index")
                begun = runs.start_dispatched(index, REBUILD, using="default")
        assert told == [begun.pk]

    @pytest.mark.parametrize("seconds", [-5, 5])
    def test_clock_of_the_keys_database(self, people, settings, seconds, monkeypatch,
                                        django_capture_on_commit_callbacks):  # fmt: skip
        """Machines may differ from it, and what counts since a change of state is told by it."""
        told, now = [], timezone.now() + timedelta(seconds=seconds)
        with_worker(settings, "process.ProcessWorker")
        from envelope_fields.jobs.workers.process import ProcessWorker

        monkeypatch.setattr(ProcessWorker, "begin", lambda worker, run_id: told.append(run_id))
        monkeypatch.setattr("envelope_fields.databases.now", lambda: now)
        with django_capture_on_commit_callbacks(execute=True):
            index = index_of(Person, "email_index")
            begun = runs.start_dispatched(index, VERIFY, using="default")
        assert begun.created_at == now
        assert told == [begun.pk]

    def test_verification_writes_nothing(self, people):
        with CaptureQueriesContext(connection) as queries:
            done = run(begin(VERIFY))
        assert not [each for each in queries if 'UPDATE "tests_person"' in each["sql"]]
        assert (progress(done).total, progress(done).failed) == (7, 6)
        assert {each.cause for each in failures(done)} == {"Missing"}
        assert {each.version_id for each in failures(done)} == {""}

    def test_a_scope_that_changes_meanwhile(self, monkeypatch):
        """The values stay as they were read, and the index does not."""
        first, second = (Tenant.objects.create(name=name) for name in ("one", "two"))
        member = Member.objects.create(tenant=first, email="ada@example.org")
        execute("UPDATE tests_member SET email_index = NULL")
        write, other = Rebuild.write, b"\x07" * 24

        def late(*given):
            execute("UPDATE tests_member SET email_index = %s", other)
            return write(*given)

        monkeypatch.setattr(Rebuild, "write", late)
        done = run(begin(REBUILD, index_of(Member, "email_index")))
        assert second.pk != first.pk
        member.refresh_from_db()
        assert bytes(member.email_index) == other
        assert progress(done).skipped == 1


class TestLimitsOfCommands:
    def test_they_are_kept(self, people, capsys):
        call_command("rebuild_indexes", LABEL, batch_size=2, max_rate=1000, json=True)
        [found] = json.loads(capsys.readouterr().out)["indexes"]
        [done] = found["runs"]
        made = RotationRun.objects.get(pk=done["id"])
        assert (made.limits["batch_size"], made.limits["max_rate"]) == (2, 1000)
        call_command("verify_indexes", LABEL, sleep=0.0, json=True)

    def test_bad_ones(self, people):
        with pytest.raises(CommandError, match="batch_size must be from"):
            call_command("rebuild_indexes", LABEL, batch_size=0)

    def test_one_that_was_killed_goes_on(self, people, capsys):
        begun = interrupted(begin(limits=Limits(batch_size=2)))
        call_command("rebuild_indexes", LABEL, to="reading")
        assert RotationRun.objects.filter(kind=REBUILD).get() == begun
        assert f"Run {begun.pk}: completed" in capsys.readouterr().out

    def test_a_verification_that_was_killed_goes_on(self, people, capsys):
        run(begin(REBUILD))
        begun = interrupted(begin(VERIFY, limits=Limits(batch_size=2)))
        call_command("rebuild_indexes", LABEL, to="verified")
        assert RotationRun.objects.filter(kind=VERIFY).get() == begun
        assert RotationRun.objects.filter(kind=REBUILD).count() == 1
        assert BlindIndex.objects.get(label=LABEL).state == "verified"


class TestOnWhoseBehalf:
    @pytest.fixture
    def ben(self):
        return User.objects.create_user("ben")

    @pytest.fixture
    def keys(self):
        guarded = create_master_key("guarded", application_use=True)
        search = create_master_key("lookup", usage=KeyUsage.GENERATE_VERIFY_MAC)
        row = Guarded.objects.create(masked="eve@example.org", raising="secret")
        Sealed.objects.create(value="text")
        assert row.pk
        return guarded, search

    def test_a_user_needs_the_right_on_each_key(self, keys, ben):
        index = index_of(Guarded, "masked_index")
        with pytest.raises(KeyAccessDenied, match="may not re_encrypt with master key 'guarded'"):
            begin(REBUILD, index, actor=ben)
        assert not RotationRun.objects.exists()
        denied = AuditEvent.objects.order_by("number").last()
        assert (denied.outcome, denied.action, denied.actor_name) == ("denied", "re_encrypt", "ben")

    def test_who_may_not_read_may_rebuild(self, keys, ben):
        guarded, _ = keys
        index = index_of(Guarded, "masked_index")
        grant(guarded, ben, [Action.RE_ENCRYPT], actor=APPLICATION)
        execute("UPDATE tests_guarded SET masked_index = NULL")
        done = run(begin(REBUILD, index, actor=ben))
        assert (done.state, done.error, done.actor_name) == ("completed", "", "ben")
        assert Guarded.objects.get(masked="eve@example.org")
        with acting_as(ben):
            assert "eve" not in str(Guarded.objects.get().masked)

    def test_who_loses_the_right_ends_the_run(self, keys, ben):
        guarded, _ = keys
        given = grant(guarded, ben, [Action.RE_ENCRYPT], actor=APPLICATION)
        execute("UPDATE tests_guarded SET masked_index = NULL, raising_index = NULL")
        begun = [
            begin(REBUILD, index_of(Guarded, name), actor=ben)
            for name in ("masked_index", "raising_index")
        ]
        revoke(given, override=True, actor=APPLICATION)
        for each in begun:
            with pytest.raises(KeyAccessDenied):
                run(each)
            failed = rotation.find_run(each)
            assert (failed.state, "KeyAccessDenied" in failed.error) == ("failed", True)

    def test_it_is_no_use_of_the_values_nor_of_the_index(self, people):
        uses.harvest()
        run(begin(REBUILD))
        run(begin(VERIFY))
        assert {each.channel for each in uses.harvest() if each.used.times} == {"rotation"}


class TestStates:
    def test_it_is_not_verified_before_a_verification(self, people):
        index = index_of(Person, "email_index")
        for to in ("verified", "reading"):
            with pytest.raises(IndexNotReady, match="no verification that began"):
                change_state(index, to)
        wrong = run(begin(VERIFY))
        with pytest.raises(IndexNotReady, match=f"{wrong.pk} has found 6 rows wrong"):
            change_state(index, "verified")
        run(begin(REBUILD))
        with pytest.raises(IndexNotReady, match="6 rows wrong"):
            change_state(index, "verified")
        run(begin(VERIFY))
        with pytest.raises(IndexNotReady, match="does not become reading: no verification that"):
            change_state(index, "reading")
        run(begin(VERIFY))
        assert change_state(index, "reading").state == "reading"
        states = AuditEvent.objects.filter(action="change_index").order_by("number")
        assert [event.after["state"] for event in states] == ["verified", "reading"]

    def test_one_from_before_it_was_filled_is_none(self, people):
        index = index_of(Person, "email_index")
        run(begin(REBUILD))
        run(begin(VERIFY))
        change_state(index, "verified")
        change_state(index, "filling")
        with pytest.raises(IndexNotReady, match="no verification"):
            change_state(index, "verified")

    def test_going_back_takes_none_and_forth_takes_one(self, people):
        """The build that was gone back to may not have written it."""
        index = index_of(Person, "email_index")
        run(begin(REBUILD))
        BlindIndex.objects.filter(label=LABEL).update(state="reading")
        assert change_state(index, "verified").state == "verified"
        with pytest.raises(IndexNotReady, match="no verification that began"):
            change_state(index, "reading")
        run(begin(VERIFY))
        assert change_state(index, "reading").state == "reading"

    def test_none_is_filled_again_while_others_look_in_it(self, people, settings):
        """Triggers would empty it where a value is written again, as it was."""
        run(begin(REBUILD))
        BlindIndex.objects.filter(label=LABEL).update(state="reading")
        settings.ENVELOPE_FIELDS = {**settings.ENVELOPE_FIELDS, "KEY_CACHE_SECONDS": 60}
        index = index_of(Person, "email_index")
        with pytest.raises(IndexNotReady, match="Bring it to verified first"):
            change_state(index, "filling")
        change_state(index, "verified")
        with pytest.raises(IndexNotReady, match="to filling at 2"):
            change_state(index, "filling")
        BlindIndex.objects.filter(label=LABEL).update(
            state_changed_at=timezone.now() - timedelta(days=1)
        )
        assert change_state(index, "filling").state == "filling"

    def test_the_command_waits_until_every_process_knows(self, people, monkeypatch):
        run(begin(REBUILD))
        BlindIndex.objects.filter(label=LABEL).update(state="reading")
        waited = []

        def wait(label, changed_at):
            waited.append((label, BlindIndex.objects.get(label=LABEL).state))
            return []

        monkeypatch.setattr(states, "wait_until_known", wait)
        call_command("rebuild_indexes", LABEL, to="filling", verbosity=0)
        assert waited == [(LABEL, "verified")]
        assert BlindIndex.objects.get(label=LABEL).state == "filling"

    def test_one_that_is_retired_is_emptied_when_every_process_knows(self, people, settings):
        settings.ENVELOPE_FIELDS = {**settings.ENVELOPE_FIELDS, "KEY_CACHE_SECONDS": 60}
        run(begin(REBUILD))
        BlindIndex.objects.filter(label=LABEL).update(
            state="retired", state_changed_at=timezone.now()
        )
        with pytest.raises(IndexNotReady, match="other processes may write it until"):
            begin()
        BlindIndex.objects.filter(label=LABEL).update(
            state_changed_at=timezone.now() - timedelta(days=1)
        )
        done = run(begin())
        assert (done.state, progress(done).moved, left()) == ("completed", 6, 6)
