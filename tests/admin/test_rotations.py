"""Rotations of stored values from the admin: asked before, started once, seen by those who may."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from envelope_fields import keyring, rotation
from envelope_fields.admin.counts import duration_text
from envelope_fields.admin.runs import FAILURES_SHOWN
from envelope_fields.grants import grant
from envelope_fields.jobs.workers.process import ProcessWorker
from envelope_fields.lifecycle import create_master_key, disable, rotate_master_key
from envelope_fields.models import (
    AuditEvent,
    MasterKey,
    RotationColumn,
    RotationFailure,
    RotationRange,
    RotationRun,
    RotationState,
)
from envelope_fields.policy import Action
from envelope_fields.rotation import Limits
from tests.admin import last_event, officer, page_of, said
from tests.models import LabNote, TenantNote
from tests.rotation import interrupted, left, put, with_worker
from tests.stored import stored

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(databases="__all__")]

LIST = reverse("admin:envelope_fields_rotationrun_changelist")


def start_url(key):
    return reverse("admin:envelope_fields_masterkey_start_rotation", args=[key.pk])


def run_url(run, name="change", *args):
    return reverse(f"admin:envelope_fields_rotationrun_{name}", args=[run.pk, *args])


@pytest.fixture
def key():
    key = create_master_key("tenant")
    TenantNote.plain_objects.bulk_create(
        [TenantNote(tenant="tenant", text=f"{n}", data={"n": n}) for n in range(5)]
    )
    rotate_master_key(key)
    return key


@pytest.fixture
def committed(django_capture_on_commit_callbacks):
    return lambda: django_capture_on_commit_callbacks(execute=True)


class TestStarting:
    def test_from_the_page_of_the_key(self, client, key, begun, committed):
        assert start_url(key) in client.get(page_of(key)).text
        page = client.get(start_url(key)).text
        assert "10 stored values in 2 fields." in page
        assert "They are under version 1." in page
        assert "wrapped under version 2" in page
        assert "One process takes about 1 second." in page
        assert not RotationRun.objects.exists()

        with committed():
            response = client.post(start_url(key), {"kind": "rewrap"})
        run = RotationRun.objects.get()
        assert response.url == run_url(run)
        assert begun == [run.pk]
        assert (run.kind, run.state, run.actor_name) == ("rewrap", "pending", "olga")
        assert (last_event().action, last_event().actor_name) == ("start_rotation", "olga")
        assert run_url(run, "progress") in client.get(page_of(key)).text

    def test_what_is_chosen(self, client, key, begun):
        rotate_master_key(key)
        TenantNote.objects.create(tenant="tenant", text="under 3")
        choice = {
            "kind": "re_encrypt",
            "only_versions": ["1"],
            "only_fields": ["tests.TenantNote.text"],
            "max_rate": "1",
        }
        page = client.post(start_url(key), {**choice, "look": "1"})
        assert "5 stored values in 1 field." in page.text
        assert "One process takes about 5 seconds." in page.text
        assert "new data key and ciphertext" in page.text
        rows = [(row.field, row.version.number, row.values) for row in page.context["rows"]]
        assert rows == [("text", 1, 5)]
        assert not RotationRun.objects.exists()

        client.post(start_url(key), {**choice, "max_rate": "10", "nice_ratio": "0.5"})
        run = RotationRun.objects.get()
        assert (run.kind, run.only_versions) == ("re_encrypt", [1])
        assert run.only_fields == ["tests.TenantNote.text"]
        assert run.limits == Limits(max_rate=10, batch_size=10, nice_ratio=0.5).as_json()
        page = client.get(run_url(run)).text
        assert "at most 10 values a second, rests for 0.5 times as long as it works" in page
        rotation.run(run)
        assert {row.version.number: row.values for row in rotation.census("tenant")} == {1: 5, 3: 6}

    @pytest.mark.parametrize(
        "wrong",
        [
            {"kind": ""},
            {"kind": "shred"},
            {"only_versions": ["9"]},
            {"only_versions": ["x"]},
            {"only_fields": ["auth.User.password"]},
            {"max_rate": "0"},
            {"max_rate": "fast"},
            {"nice_ratio": "-1"},
            {"nice_ratio": "nan"},
        ],
    )
    def test_bad_input_starts_nothing(self, client, key, begun, wrong):
        page = client.post(start_url(key), {"kind": "rewrap", **wrong})
        assert page.context["form"].errors
        assert not RotationRun.objects.exists()

    def test_nothing_to_do(self, client, key, begun):
        rotation.run(key)
        page = client.get(start_url(key)).text
        assert "Nothing to do" in page
        assert 'value="Move values"' not in page
        choice = {"kind": "re_encrypt", "only_versions": ["2"], "look": "1"}
        assert 'value="Move values"' in client.post(start_url(key), choice).text

    def test_without_a_worker_no_run_waits_for_ever(self, client, key):
        page = client.get(start_url(key)).text
        assert "ROTATION_WORKER" in page
        assert "python manage.py rewrap --key tenant" in page
        assert 'type="submit" class="default"' not in page
        response = client.post(start_url(key), {"kind": "rewrap"}, follow=True)
        assert "ROTATION_WORKER" in said(response)[0]
        assert not RotationRun.objects.exists()

    def test_with_a_worker_that_is_none(self, client, key, settings):
        with_worker(settings, "process.NoSuchWorker")
        assert "NoSuchWorker" in client.get(start_url(key)).text
        client.post(start_url(key), {"kind": "rewrap"})
        assert not RotationRun.objects.exists()

    def test_one_at_a_time(self, client, key, begun):
        run = rotation.start(key)
        assert start_url(key) not in client.get(page_of(key)).text
        for answer in (client.get, client.post):
            response = answer(start_url(key), {"kind": "rewrap"}, follow=True)
            assert f"has a run that is not over: {run.pk}" in said(response)[0]
        assert RotationRun.objects.get() == run

    def test_a_key_that_is_disabled(self, client, key, begun):
        disable(key)
        assert start_url(key) not in client.get(page_of(key)).text
        for answer in (client.get, client.post):
            response = answer(start_url(key), {"kind": "rewrap"}, follow=True)
            assert "disabled" in said(response)[0]
        assert not RotationRun.objects.exists()

    def test_the_worker_hears_of_what_is_committed(self, client, key, begun, committed):
        with committed():
            client.post(start_url(key), {"kind": "rewrap"})
            assert begun == []
        assert len(begun) == 1


class TestStalePages:
    """A page carries what it showed; what has changed since is refused."""

    def shown(self, response):
        return {"shown": response.context["shown"]}

    def test_a_start_that_is_sent_twice(self, client, key, begun):
        seen = self.shown(client.get(start_url(key)))
        client.post(start_url(key), {"kind": "re_encrypt", **seen})
        rotation.cancel(RotationRun.objects.get())
        again = client.post(start_url(key), {"kind": "re_encrypt", **seen}, follow=True)
        assert "has changed since this page was shown" in said(again)[-1]
        assert RotationRun.objects.count() == 1
        client.post(start_url(key), {"kind": "re_encrypt", **self.shown(again)})
        assert RotationRun.objects.count() == 2

    def test_acts(self, client, key, begun):
        run = rotation.start(key)
        pause = run_url(run, "operation", "pause")
        seen = self.shown(client.get(pause))
        client.post(pause, seen)
        rotation.resume(run)
        again = client.post(pause, seen, follow=True)
        assert "has changed since this page was shown" in said(again)[-1]
        run.refresh_from_db()
        assert run.state == "running"


@pytest.mark.django_db(transaction=True, databases="__all__")
class TestWorkersThatFail:
    def test_a_page_that_carries_what_it_showed(self, client, key, begun, monkeypatch):
        """That the run failed is a change of this very request."""

        def begin(worker, run_id):
            raise OSError("no")

        seen = {"shown": client.get(start_url(key)).context["shown"]}
        monkeypatch.setattr(ProcessWorker, "begin", begin)
        answer = client.post(start_url(key), {"kind": "rewrap", **seen}, follow=True)
        assert "could not be given" in said(answer)[0]

    def test_one_that_cannot_be_reached(self, client, key, begun, monkeypatch):
        def begin(worker, run_id):
            raise ConnectionError("amqp://user:hunter2@broker")

        with monkeypatch.context() as patch:
            patch.setattr(ProcessWorker, "begin", begin)
            response = client.post(start_url(key), {"kind": "rewrap"}, follow=True)
        assert "could not be given" in said(response)[0]
        assert "hunter2" not in response.text
        run = RotationRun.objects.get()
        assert run.state == RotationState.FAILED  # so that it is in nobody's way
        assert client.post(start_url(key), {"kind": "rewrap"}).status_code == 302
        assert begun == [RotationRun.objects.exclude(pk=run.pk).get().pk]

    def test_a_paused_run_stays_so_while_none_can_be_reached(self, client, key, begun, monkeypatch):
        def begin(worker, run_id):
            raise ConnectionError

        run = rotation.start(key)
        rotation.pause(run)
        with monkeypatch.context() as patch:
            patch.setattr(ProcessWorker, "begin", begin)
            response = client.post(run_url(run, "operation", "resume"), follow=True)
        assert "could not be given" in said(response)[0]
        run.refresh_from_db()
        assert run.state == RotationState.PAUSED

    def test_with_a_transaction_around_each_request(self, client, key, begun, monkeypatch):
        """The worker would not find a run whose transaction is open."""
        open_blocks = []
        monkeypatch.setattr(
            ProcessWorker,
            "begin",
            lambda worker, run_id: open_blocks.append(connection.in_atomic_block),
        )
        monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
        client.post(start_url(key), {"kind": "rewrap"})
        run = RotationRun.objects.get()
        rotation.pause(run)
        client.post(run_url(run, "operation", "resume"))
        assert open_blocks == [False, False]


@pytest.mark.django_db(transaction=True, databases="__all__")
def test_keys_in_a_database_of_their_own(client, settings, begun):
    settings.ENVELOPE_FIELDS = {**settings.ENVELOPE_FIELDS, "DATABASE": "other"}
    keyring.evict()
    lab = create_master_key("lab")
    LabNote.objects.create(text="a")
    rotate_master_key(lab)
    client.force_login(officer("lars", key=lab))
    client.post(start_url(lab), {"kind": "rewrap"})
    run = RotationRun.objects.using("other").get()
    assert begun == [run.pk]
    assert run_url(run) in client.get(page_of(lab)).text
    assert client.get(LIST, {"key": str(lab.pk)}).context["cl"].result_list == [run]
    rotation.run(run)
    assert client.get(run_url(run)).context["run"]["rows"]["fields"][0][3] == "1"
    assert client.get(run_url(run, "progress")).json()["is_over"]
    keyring.evict()


class TestWithoutTheRight:
    def test_without_the_permission(self, client, key, begun):
        run = rotation.start(key)
        seeing = ["view_masterkey", "view_rotationrun"]
        client.force_login(officer("rita", permissions=seeing, key=key))
        assert "envelope-operation" not in client.get(page_of(key)).text
        assert "envelope-operation" not in client.get(run_url(run)).text
        self.refused(client, key, run)

    def test_without_the_grant(self, client, key, begun):
        run = rotation.start(key)
        client.force_login(officer("rita", key=key, actions=[Action.DESCRIBE]))
        assert "envelope-operation" not in client.get(page_of(key)).text
        assert "envelope-operation" not in client.get(run_url(run)).text
        self.refused(client, key, run)

    def refused(self, client, key, run):
        forged = [(start_url(key), {"kind": "rewrap"})]
        forged += [(run_url(run, "operation", act), {}) for act in ("pause", "resume", "cancel")]
        for url, data in forged:
            assert client.get(url).status_code == 403
            assert client.post(url, data).status_code == 403
        event = AuditEvent.objects.filter(outcome="denied").latest("number")
        assert (event.action, event.actor_name, event.key_id) == ("re_encrypt", "rita", key.pk)
        run.refresh_from_db()
        assert run.state == RotationState.PENDING

    def test_a_key_that_one_may_not_see(self, client, key):
        run = rotation.start(key)
        client.force_login(officer("rita"))
        assert "tenant" not in client.get(LIST).text
        assert client.get(run_url(run)).status_code == 302
        for url in (run_url(run, "progress"), run_url(run, "operation", "cancel")):
            assert client.get(url).status_code == 403
        assert client.post(run_url(run, "operation", "cancel")).status_code == 403
        event = last_event()
        assert (event.action, event.outcome, event.actor_name) == ("describe", "denied", "rita")
        run.refresh_from_db()
        assert run.is_active

    def test_who_may_not_see_runs(self, client, key):
        run = rotation.start(key)
        client.force_login(officer("rita", permissions=["view_masterkey"], key=key))
        assert "envelope-rotations" not in client.get(page_of(key)).text
        for url in (
            LIST,
            run_url(run),
            run_url(run, "progress"),
            run_url(run, "operation", "pause"),
        ):
            assert client.get(url).status_code == 403

    def test_who_may_start_and_not_see(self, client, key, begun):
        client.force_login(
            officer("rita", permissions=["view_masterkey", "add_rotationrun"], key=key)
        )
        page = client.get(page_of(key)).text
        assert start_url(key) in page
        assert "Nothing has been moved yet" not in page
        assert client.post(start_url(key), {"kind": "rewrap"}).url == page_of(key)
        assert RotationRun.objects.get().actor_name == "rita"

    def test_nobody(self, client, key):
        run = rotation.start(key)
        client.logout()
        for url in (start_url(key), run_url(run, "operation", "cancel"), run_url(run, "progress")):
            assert client.post(url).status_code == 302
        run.refresh_from_db()
        assert run.is_active

    def test_no_token_no_act(self, key, begun):
        forged = Client(enforce_csrf_checks=True)
        forged.force_login(officer("oscar", key=key))
        assert forged.post(start_url(key), {"kind": "rewrap"}).status_code == 403
        run = rotation.start(key)
        for act in ("pause", "resume", "cancel"):
            assert forged.post(run_url(run, "operation", act)).status_code == 403
        run.refresh_from_db()
        assert run.state == RotationState.PENDING

    def test_nobody_writes_runs(self, client, admin_user, key, settings):
        run = rotation.start(key)
        settings.ENVELOPE_FIELDS = {**settings.ENVELOPE_FIELDS, "SUPERUSERS_BYPASS_POLICY": True}
        client.force_login(admin_user)
        assert client.get(run_url(run)).status_code == 200
        assert client.post(run_url(run), {"state": "completed"}).status_code == 403
        assert client.post(run_url(run, "delete"), {"post": "yes"}).status_code == 403
        add = reverse("admin:envelope_fields_rotationrun_add")
        assert client.post(add, {"kind": "rewrap"}).status_code == 403
        assert "delete_selected" not in client.get(LIST).text
        assert RotationRun.objects.get().state == RotationState.PENDING


class TestActs:
    def test_pause_and_resume(self, client, key, begun, committed):
        run = interrupted(rotation.start(key, limits=Limits(batch_size=2)))
        assert "So far: 2 of 10 values." in client.get(run_url(run, "operation", "pause")).text
        run.refresh_from_db()
        assert run.state == RotationState.RUNNING  # asking changes nothing
        assert "is paused" in said(client.post(run_url(run, "operation", "pause"), follow=True))[0]
        run.refresh_from_db()
        assert run.state == RotationState.PAUSED
        assert (last_event().action, last_event().actor_name) == ("pause_rotation", "olga")

        assert "handed to a worker" in client.get(run_url(run, "operation", "resume")).text
        with committed():
            client.post(run_url(run, "operation", "resume"))
        run.refresh_from_db()
        assert (run.state, begun) == (RotationState.RUNNING, [run.pk])
        assert (last_event().action, last_event().actor_name) == ("resume_rotation", "olga")

    def test_cancel(self, client, key):
        run = interrupted(rotation.start(key, limits=Limits(batch_size=2)))
        page = client.get(run_url(run, "operation", "cancel")).text
        assert "What was moved stays so: 2 stored values." in page
        client.post(run_url(run, "operation", "cancel"))
        run.refresh_from_db()
        assert (run.state, left("tenant")) == (RotationState.CANCELLED, 8)
        assert (last_event().action, last_event().actor_name) == ("cancel_rotation", "olga")

    @pytest.mark.parametrize("act", ["pause", "resume", "cancel"])
    def test_what_is_over_stays_so(self, client, key, begun, act):
        run = rotation.run(key)
        assert "nothing to do" in said(client.get(run_url(run, "operation", act), follow=True))[0]
        response = client.post(run_url(run, "operation", act), follow=True)
        assert "is completed" in said(response)[-1]
        run.refresh_from_db()
        assert (run.state, begun) == (RotationState.COMPLETED, [])

    def test_resuming_without_a_worker(self, client, key):
        run = rotation.start(key)
        rotation.pause(run)
        page = client.get(run_url(run, "operation", "resume")).text
        assert f"python manage.py rewrap --run {run.pk}" in page
        response = client.post(run_url(run, "operation", "resume"), follow=True)
        assert "ROTATION_WORKER" in said(response)[0]
        run.refresh_from_db()
        assert run.state == RotationState.PAUSED

    def test_resuming_what_its_worker_left(self, client, key, begun, committed):
        run = interrupted(rotation.start(key, limits=Limits(batch_size=2)))
        assert "resume" not in acts_of(client, run)
        long_ago = timezone.now() - timedelta(minutes=10)
        RotationRun.objects.update(created_at=long_ago, resumed_at=long_ago, heartbeat_at=long_ago)
        told = client.get(run_url(run, "progress")).json()
        assert "No worker has been seen on it for 10 minutes" in told["texts"]["note"]
        assert told["operations"] == ["pause", "resume", "cancel"]
        with committed():
            client.post(run_url(run, "operation", "resume"))
        assert begun == [run.pk]

    def test_a_slow_worker_is_not_taken_for_dead(self, client, key):
        limits = Limits(batch_size=600, max_rate=1)  # rests for ten minutes
        run = interrupted(rotation.start(key, limits=limits))
        ago = timezone.now() - timedelta(minutes=9)
        RotationRun.objects.update(created_at=ago, resumed_at=ago, heartbeat_at=ago)
        assert "resume" not in acts_of(client, run)

    def test_what_there_is_not(self, client, key):
        run = rotation.start(key)
        assert client.get(run_url(run, "operation", "destroy")).status_code == 404
        run.pk = key.pk
        assert client.get(run_url(run, "operation", "pause")).status_code == 404
        assert client.get(run_url(run, "progress")).status_code == 404


def acts_of(client, run):
    return client.get(run_url(run, "progress")).json()["operations"]


class TestPage:
    def test_what_it_shows(self, client, key):
        run = interrupted(rotation.start(key, limits=Limits(batch_size=2, max_rate=100)))
        page = client.get(run_url(run))
        assert "rewrap of tenant" in page.text
        assert '<progress aria-label="Values moved" value="2" max="10">' in page.text
        assert "2 of 10 values" in page.text
        assert "at most 100 values a second" in page.text
        assert "application" in page.text  # who
        (first, second) = page.context["run"]["rows"]["fields"]
        assert first == ["tests.TenantNote.text", "default", "5", "2", "0", "0", "3"]
        assert second == ["tests.TenantNote.data", "default", "5", "0", "0", "0", "5"]
        assert 'src="/static/envelope_fields/rotation.js"' in page.text

    def test_what_the_script_asks_for(self, client, key):
        run = interrupted(rotation.start(key, limits=Limits(batch_size=2)))
        answer = client.get(run_url(run, "progress"))
        assert "no-store" in answer["Cache-Control"]
        told = answer.json()
        assert (told["state"], told["is_over"]) == ("running", False)
        assert told["bar"] == {"value": 2, "max": 10}
        assert told["texts"]["done"] == "2 of 10 values"
        assert told["texts"]["announcement"] == "running, 20 percent"
        assert "second" in told["texts"]["remaining"]
        assert told["operations"] == ["pause", "cancel"]
        rotation.run(run)
        told = client.get(run_url(run, "progress")).json()
        assert (told["state"], told["is_over"], told["operations"]) == ("completed", True, [])
        assert told["bar"] == {"value": 10, "max": 10}
        assert told["texts"]["remaining"] == "–"

    def test_one_about_several_keys(self, client, user, key):
        other = create_master_key("another")
        grant(other, user, list(Action))
        run = rotation.run([key, other])
        page = client.get(run_url(run)).text
        assert "rewrap of 2 keys" in page
        for each, values in ((key, 10), (other, 0)):
            link = f'<a href="{page_of(each)}">{each.alias}</a>'
            assert f'{link}</th><td class="number">{values}</td>' in page
            assert "complete_rotation" in client.get(page_of(each)).text
        assert "2 keys" in client.get(LIST).text
        assert run_url(run) in client.get(LIST, {"q": "another"}).text

    def test_more_keys_cost_no_more_queries(self, client, user, key):
        others = [create_master_key(f"another-{n}") for n in range(4)]
        for each in others:
            grant(each, user, list(Action))
        few, many = rotation.run([key, others[0]]), rotation.run([key, *others])
        counts = []
        for run in (few, few, many):  # the first request is not warm
            with CaptureQueriesContext(connection) as captured:
                assert client.get(run_url(run)).status_code == 200
            counts.append(len(captured))
        assert counts[1] == counts[2]

    def test_one_about_no_key(self, client, key):
        run = RotationRun.objects.create(
            kind="rewrap", limits=Limits().as_json(), actor_type="application"
        )
        assert run_url(run) in client.get(LIST).text
        page = client.get(run_url(run, "operation", "pause"))
        seen = {"shown": page.context["shown"]}
        assert client.post(run_url(run, "operation", "pause"), seen).status_code == 302
        run.refresh_from_db()
        assert run.state == "paused"
        response = client.post(run_url(run, "operation", "cancel"), seen, follow=True)
        assert "changed since this page was shown" in " ".join(said(response))
        run.refresh_from_db()
        assert run.state == "paused"

    def test_one_about_no_key_takes_the_permission(self, key):
        run = RotationRun.objects.create(
            kind="rewrap", limits=Limits().as_json(), actor_type="application"
        )
        client = Client()
        client.force_login(officer("oscar", permissions=["view_masterkey", "view_rotationrun"]))
        assert client.get(run_url(run)).status_code == 200
        assert client.post(run_url(run, "operation", "pause")).status_code == 403
        event = last_event()
        assert (event.outcome, event.action, event.key_id) == ("denied", "re_encrypt", None)

    def test_before_it_is_counted(self, client, key):
        run = rotation.start(key)
        told = client.get(run_url(run, "progress")).json()
        assert (told["bar"], told["texts"]["done"]) == (None, "not counted yet")
        assert '<progress aria-label="Values moved"></progress>' in client.get(run_url(run)).text

    def test_with_nothing_to_move(self, client, key):
        rotation.run(key)
        told = client.get(run_url(rotation.run(key), "progress")).json()
        assert told["bar"] == {"value": 1, "max": 1}

    def test_what_failed(self, client, key):
        note = TenantNote.objects.first()
        value = bytearray(stored(note, "text"))
        value[50] ^= 1
        put(note, "text", bytes(value))
        run = rotation.run(key)
        page = client.get(run_url(run))
        (row,) = page.context["run"]["rows"]["failures"]
        assert row[0] == "tests.TenantNote.text"
        assert (row[2], row[4]) == (str(note.pk), "UnwrapFailed")
        assert row[3] == bytes(key.versions.get(number=1).version_id).hex()
        assert "UnwrapFailed" in page.text
        assert note.text not in row

    def test_the_list_of_what_failed_has_an_end(self, client, key):
        run = interrupted(rotation.start(key, limits=Limits(batch_size=2)))
        chunk = RotationRange.objects.filter(column__run=run).first()
        RotationRange.objects.filter(pk=chunk.pk).update(failed=1000)
        RotationFailure.objects.bulk_create(
            RotationFailure(range=chunk, row=str(n), version_id="0" * 16, cause="X", message="")
            for n in range(100)
        )
        told = client.get(run_url(run, "progress")).json()
        assert len(told["rows"]["failures"]) == FAILURES_SHOWN
        assert told["texts"]["failed"] == "1,000"

    def test_one_that_failed_says_why(self, client, key):
        run = rotation.start(key)
        RotationRun.objects.update(state="failed", error="<b>Why</b>", finished_at=timezone.now())
        page = client.get(run_url(run)).text
        assert "&lt;b&gt;Why&lt;/b&gt;" in page
        assert "Finished at" in page

    def test_numbers_in_another_language(self, client, key, settings):
        run = rotation.start(key)
        column = RotationColumn.objects.create(
            run=run, database="default", model="tests.TenantNote", field="text", total=12_345
        )
        RotationRange.objects.create(column=column, pass_number=1, number=0, until="", moved=1_234)
        settings.USE_THOUSAND_SEPARATOR = True
        settings.LANGUAGE_CODE = "de"
        page = client.get(run_url(run)).text
        assert 'value="1234" max="12345"' in page
        assert "1.234" in page
        assert 'value="1234" max="12345"' in client.get(LIST).text

    def test_queries_do_not_grow_with_a_run(self, client, key):
        run = interrupted(rotation.start(key, limits=Limits(batch_size=2)))
        urls = (page_of(key), run_url(run), run_url(run, "progress"))
        few = [queries(client, url) for url in urls]
        for number in range(20):
            column = RotationColumn.objects.create(
                run=run, database="default", model="tests.Note", field=f"f{number}", total=9
            )
            RotationRange.objects.bulk_create(
                RotationRange(column=column, pass_number=pass_number, number=n, until="")
                for n in range(5)
                for pass_number in (1, 2)
            )
        many = [queries(client, url) for url in urls]
        assert many == few


def queries(client, url):
    client.get(url)
    with CaptureQueriesContext(connection) as captured:
        assert client.get(url).status_code == 200
    return len(captured)


class TestList:
    def test_what_it_shows(self, client, key):
        rotation.run(key)
        page = client.get(LIST).text
        assert '<progress value="10" max="10" aria-label="moved"></progress> 10 of 10' in page
        assert "completed" in page

    def test_filters_and_search(self, client, key):
        user = officer("otto", key=key)
        other = create_master_key("other", actor=user)
        client.force_login(officer("ida", key=key))
        hidden = rotation.start(other, actor=user)
        done = rotation.run(key, actor=user)
        active = rotation.start(key, kind="re_encrypt")

        def found(**query):
            return {run.pk for run in client.get(LIST, query).context["cl"].result_list}

        assert found() == {done.pk, active.pk}
        assert found(state__exact="completed") == {done.pk}
        assert found(kind__exact="re_encrypt") == {active.pk}
        assert found(key=str(key.pk)) == {done.pk, active.pk}
        assert found(key=str(other.pk)) == found(key="x") == set()
        assert found(q="otto") == {done.pk}
        assert found(q="tenant") == {done.pk, active.pk}
        assert hidden.pk not in found(q="other")
        assert [text for _, text in key_choices(client)] == ["tenant"]

    @pytest.mark.parametrize("order", ["1", "2", "-3", "7"])
    def test_sorting(self, client, key, order):
        rotation.run(key)
        assert client.get(LIST, {"o": order}).status_code == 200

    def test_queries_do_not_grow_with_the_runs(self, client, key):
        rotation.run(key)
        few = queries(client, LIST), queries(client, page_of(key))
        runs = RotationRun.objects.bulk_create(
            RotationRun(kind="rewrap", master_key=key, state="completed", actor_type="application")
            for _ in range(120)
        )
        columns = RotationColumn.objects.bulk_create(
            RotationColumn(run=run, database="default", model="tests.Note", field="text", total=9)
            for run in runs
        )
        RotationRange.objects.bulk_create(
            RotationRange(column=column, pass_number=1, number=0, until="", moved=9)
            for column in columns
        )
        assert client.get(LIST).context["cl"].result_count == 121
        assert queries(client, LIST) <= few[0]
        assert queries(client, page_of(key)) <= few[1]


def key_choices(client):
    (chosen,) = (
        spec
        for spec in client.get(LIST).context["cl"].filter_specs
        if getattr(spec, "parameter_name", "") == "key"
    )
    return chosen.lookup_choices


def test_the_key_of_a_run_needs_no_alias(client, key):
    run = rotation.run(key)
    MasterKey.objects.filter(pk=key.pk).update(alias=None)
    assert str(key.pk) in client.get(run_url(run)).text
    assert [text for _, text in key_choices(client)] == [str(key.pk)]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.01, "1 second"),
        (59.6, "60 seconds"),
        (119, "119 seconds"),
        (120, "2 minutes"),
        (7_199, "120 minutes"),
        (7_200, "2 hours"),
        (172_799, "48 hours"),
        (172_800, "2 days"),
        (86_400_000, "1,000 days"),
    ],
)
def test_durations(seconds, text):
    assert duration_text(seconds) == text
