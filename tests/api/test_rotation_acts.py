"""Acts on rotations over HTTP, and whose they are."""

import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from envelope_fields import lifecycle, rotation
from envelope_fields.exceptions import KeyAccessDenied
from envelope_fields.grants import revoke
from envelope_fields.models import AuditEvent, RotationRange, RotationRun
from envelope_fields.policy import APPLICATION, Action
from envelope_fields.rotation import Limits
from tests.admin import officer
from tests.api import last_event, problem, url, wrong_fields
from tests.api.rotations import ROTATIONS, committing, run_url, start, with_worker, without_worker
from tests.rotation import left

pytestmark = [
    pytest.mark.any_database,
    pytest.mark.django_db(databases="__all__"),
    pytest.mark.usefixtures("worker"),
]


class TestActs:
    @pytest.fixture
    def run(self, key):
        return rotation.start("tenant")

    @pytest.mark.parametrize(
        ("act", "state", "status"),
        [("pause", "paused", 200), ("resume", "running", 202), ("cancel", "cancelled", 200)],
    )
    def test_are_done_once(self, api, run, act, state, status):
        for _ in range(2):
            response = api.post(run_url(run, act), headers={"X-Request-ID": "deploy-8"})
            assert (response.status_code, response.json()["state"]) == (status, state)
        event = AuditEvent.objects.get(action=f"{act}_rotation")
        assert (event.before, event.after["state"]) == ({"state": "pending"}, state)
        assert (event.request_id, event.address) == ("deploy-8", "127.0.0.1")

    def test_one_that_is_over(self, api, run):
        api.post(run_url(run, "cancel"))
        for act in ("pause", "resume"):
            said = problem(api.post(run_url(run, act)), 409, "rotation_over")
            assert "is cancelled. Start another." in said["detail"]
        assert start(api).status_code == 202

    @committing
    def test_resuming_tells_the_worker(self, api, run, notes, settings):
        rotation.pause(run)
        with_worker(settings, "Eager")
        response = api.post(run_url(run, "resume"))
        assert response.status_code == 202
        assert response["Location"] == f"http://testserver{run_url(run)}"
        assert (response.json()["state"], left("tenant")) == ("completed", 0)

    @committing
    def test_resuming_one_whose_worker_was_lost(self, api, run, worker):
        RotationRun.objects.update(state="running")
        assert api.post(run_url(run, "resume")).status_code == 202
        assert worker.told == [run.pk]
        assert not AuditEvent.objects.filter(action="resume_rotation").exists()

    @committing
    def test_resuming_one_that_goes_on(self, api, run, worker):
        """Whoever works on it is left alone."""
        for _ in range(3):
            assert api.post(run_url(run, "resume")).status_code == 202
        assert worker.told == [run.pk]
        RotationRun.objects.update(resumed_at=timezone.now() - timedelta(minutes=1))
        for _ in range(2):
            api.post(run_url(run, "resume"))
        assert worker.told == [run.pk] * 3
        RotationRun.objects.update(heartbeat_at=timezone.now())
        api.post(run_url(run, "resume"))
        assert worker.told == [run.pk] * 3

    def test_resuming_where_there_is_no_worker(self, api, run, settings):
        rotation.pause(run)
        without_worker(settings)
        before = AuditEvent.objects.count()
        problem(api.post(run_url(run, "resume")), 409, "no_worker")
        run.refresh_from_db()
        assert (run.state, AuditEvent.objects.count()) == ("paused", before)

    @committing
    @pytest.mark.parametrize(
        ("state", "after"), [("paused", "paused"), ("pending", "paused"), ("running", "running")]
    )
    def test_resuming_where_the_worker_is_out_of_reach(self, api, run, settings, state, after):
        RotationRun.objects.update(state=state)
        with_worker(settings, "Unreachable")
        seen = {"If-Match": api.get(run_url(run))["ETag"]}
        response = api.post(run_url(run, "resume"), headers=seen)
        said = problem(response, 503, "worker_unreachable")
        run.refresh_from_db()
        assert (run.state, said["rotation"]) == (after, str(run.pk))
        assert f"which is {after} now" in said["detail"]

    @committing
    def test_a_worker_that_fails_at_its_work_was_reached(self, api, run, key, notes, settings):
        lifecycle.disable(key)
        with_worker(settings, "Eager")
        said = api.post(run_url(run, "resume")).json()
        assert said["state"] == "failed"
        assert "disabled" in said["error"]

    @pytest.mark.parametrize("act", ["pause", "resume", "cancel"])
    def test_take_nothing(self, api, run, act):
        assert wrong_fields(api.post(run_url(run, act), {"force": True})) == {"force"}
        assert wrong_fields(api.post(f"{run_url(run, act)}?force=1")) == {"force"}
        problem(api.post(run_url(run, act), "[]", content_type="application/json"), 400)
        run.refresh_from_db()
        assert run.state == "pending"

    def test_are_not_done_by_looking(self, api, run):
        for act in ("pause", "resume", "cancel"):
            problem(api.get(run_url(run, act)), 405)


class TestTwoOperators:
    @pytest.fixture
    def run(self, notes):
        return rotation.start("tenant", limits=Limits(batch_size=5))

    def test_the_second_is_told(self, api, run):
        seen = {"If-Match": api.get(run_url(run))["ETag"]}
        assert api.post(run_url(run, "pause"), headers=seen).status_code == 200
        problem(api.post(run_url(run, "cancel"), headers=seen), 412, "precondition_failed")
        run.refresh_from_db()
        assert run.state == "paused"

    def test_there_and_back_is_a_change(self, api, run):
        api.post(run_url(run, "resume"))
        seen = {"If-Match": api.get(run_url(run))["ETag"]}
        api.post(run_url(run, "pause"))
        api.post(run_url(run, "resume"))
        problem(api.post(run_url(run, "pause"), headers=seen), 412)

    def test_progress_is_none(self, api, run):
        rotation.resume(run)
        before = api.get(run_url(run))
        RotationRun.objects.update(is_planned=False)
        rotation.run(run, watch=lambda tally: RotationRun.objects.update(state="paused"))
        RotationRun.objects.update(state="running")
        after = api.get(run_url(run))
        assert after.json()["moved"] > before.json()["moved"]
        assert after["ETag"] != before["ETag"]  # what caches keep is another one
        seen = {"If-Match": before["ETag"]}
        assert api.post(run_url(run, "pause"), headers=seen).json()["state"] == "paused"

    @pytest.mark.parametrize("tag", ['"x"', '""', "x", "", "W/", '"', '*, "x"'])
    def test_tags_that_nobody_has_seen(self, api, run, tag):
        problem(api.post(run_url(run, "pause"), headers={"If-Match": tag}), 412)

    def test_any(self, api, run):
        assert api.post(run_url(run, "pause"), headers={"If-Match": "*"}).status_code == 200

    def test_the_tag_of_an_answer_is_that_of_what_is_read(self, api, run):
        done = api.post(run_url(run, "pause"))
        assert done["ETag"] == api.get(run_url(run))["ETag"]


UNSEEN = [
    ("get", ()), ("get", ("failures",)),
    ("post", ("pause",)), ("post", ("resume",)), ("post", ("cancel",)),
]  # fmt: skip


class TestRights:
    @pytest.fixture
    def run(self, key):
        return rotation.start("tenant")

    @pytest.mark.parametrize(("method", "parts"), UNSEEN)
    def test_unseen_ones_look_like_unknown_ones(self, client_of, run, method, parts):
        client = client_of(officer("oscar"))
        answers = [
            getattr(client, method)(url("rotations", named, *parts))
            for named in (run.pk, uuid.uuid4(), "x", "alias:tenant", str(run.pk).upper(), "%00")
        ]
        problem(answers[0], 404, "not_found")
        assert len({answer.content for answer in answers}) == 1
        headers = [
            {name: value for name, value in answer.items() if name != "X-Request-ID"}
            for answer in answers
        ]
        assert all(each == headers[0] for each in headers)
        event = last_event()
        assert (event.outcome, event.actor_name) == ("denied", "oscar")

    def test_ids_may_be_written_in_capitals(self, api, run):
        assert api.get(url("rotations", str(run.pk).upper())).status_code == 200

    @pytest.mark.parametrize("act", ["pause", "resume", "cancel"])
    @pytest.mark.parametrize(
        "rights",
        [
            {"permissions": ["view_masterkey", "view_rotationrun"]},
            {"actions": [action for action in Action if action != Action.RE_ENCRYPT]},
        ],
    )
    def test_acts_take_both(self, client_of, run, key, act, rights):
        client = client_of(officer("oscar", key=key, **rights))
        problem(client.post(run_url(run, act)), 403, "permission_denied")
        assert client.get(run_url(run)).status_code == 200
        run.refresh_from_db()
        assert run.state == "pending"
        event = last_event()
        assert (event.outcome, event.action, event.key_id) == ("denied", "re_encrypt", key.pk)

    @pytest.mark.parametrize(
        "rights",
        [
            {"permissions": ["view_masterkey", "view_rotationrun", "change_rotationrun"]},
            {"actions": [action for action in Action if action != Action.RE_ENCRYPT]},
        ],
    )
    def test_starting_takes_both(self, client_of, key, rights):
        client = client_of(officer("oscar", key=key, **rights))
        problem(start(client), 403, "permission_denied")
        assert (last_event().outcome, RotationRun.objects.count()) == ("denied", 0)

    def test_reading_takes_a_permission(self, client_of, run, key):
        client = client_of(officer("oscar", key=key, permissions=["view_masterkey"]))
        for address in [ROTATIONS, run_url(run), run_url(run, "failures")]:
            problem(client.get(address), 403, "permission_denied")

    def test_reading_takes_no_more(self, client_of, run, key):
        client = client_of(
            officer("oscar", key=key, permissions=["view_masterkey", "view_rotationrun"],
                    actions=[Action.DESCRIBE])
        )  # fmt: skip
        for address in [ROTATIONS, run_url(run), run_url(run, "failures")]:
            assert client.get(address).status_code == 200

    def test_they_are_those_of_the_moment(self, api, olga, key, notes):
        """A worker moves the values on behalf of whoever started it."""
        start(api)
        run = RotationRun.objects.get()
        revoke(key.grants.get(principal_id=str(olga.pk)), override="tenant", actor=APPLICATION)
        with pytest.raises(KeyAccessDenied):
            rotation.run(run, watch=lambda tally: None)
        assert RotationRun.objects.get().state == "failed"
        assert not RotationRange.objects.filter(moved__gt=0).exists()


class TestAboutNoKey:
    """No policy says who may see such a run, or act on it: permissions of Django do."""

    @pytest.fixture
    def run(self, key):
        return RotationRun.objects.create(
            kind="rewrap", limits=Limits().as_json(), actor_type="application"
        )

    def test_they_are_listed_and_read(self, client_of, run):
        client = client_of(officer("oscar", permissions=["view_masterkey", "view_rotationrun"]))
        [listed] = client.get(ROTATIONS).json()["results"]
        assert (listed["id"], listed["key"], listed["keys"]) == (str(run.pk), None, [])
        assert client.get(run_url(run)).json() == listed
        assert client.get(run_url(run, "failures")).json()["results"] == []

    def test_reading_takes_the_permission(self, client_of, run):
        client = client_of(officer("oscar", permissions=["view_masterkey"]))
        problem(client.get(run_url(run)), 403, "permission_denied")

    def test_acts(self, api, run):
        for act, state in [("pause", "paused"), ("cancel", "cancelled")]:
            assert api.post(run_url(run, act)).json()["state"] == state
        event = last_event()
        assert (event.action, event.key_id, event.actor_name) == ("cancel_rotation", None, "olga")

    def test_acts_take_the_permission(self, client_of, run):
        client = client_of(officer("oscar", permissions=["view_masterkey", "view_rotationrun"]))
        problem(client.post(run_url(run, "pause")), 403, "permission_denied")
        run.refresh_from_db()
        assert (run.state, last_event().outcome) == ("pending", "denied")

    def test_the_second_officer_is_refused(self, api, run):
        seen = {"If-Match": api.get(run_url(run))["ETag"]}
        assert api.post(run_url(run, "pause"), headers=seen).status_code == 200
        problem(api.post(run_url(run, "cancel"), headers=seen), 412, "precondition_failed")
        run.refresh_from_db()
        assert run.state == "paused"
