"""Rotations over HTTP: started, watched, and told of as they are."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from envelope_fields import lifecycle, rotation
from envelope_fields.exceptions import MasterKeyUnusable
from envelope_fields.lifecycle import create_master_key, rotate_master_key
from envelope_fields.models import AuditEvent, RotationRun
from envelope_fields.rotation import Limits
from tests.admin import officer
from tests.api import key_url, last_event, problem, reader, wrong_fields
from tests.api.rotations import (
    ROTATIONS,
    alter,
    committing,
    run_url,
    start,
    with_worker,
    without_worker,
)
from tests.api.workers import Patient
from tests.models import TenantNote
from tests.rotation import left

pytestmark = [
    pytest.mark.any_database,
    pytest.mark.django_db(databases="__all__"),
    pytest.mark.usefixtures("worker"),
]
ROWS = 12


class TestStarting:
    def test_answers_with_where_to_watch_it(self, api, key):
        headers = {"X-Request-ID": "deploy-7"}
        response = api.post(ROTATIONS, {"key": "alias:tenant"}, headers=headers)
        assert response.status_code == 202, response.content
        run = RotationRun.objects.get()
        assert response["Location"] == f"http://testserver{run_url(run)}"
        assert api.get(response["Location"]).json() == response.json()
        said = response.json()
        assert (said["id"], said["kind"], said["state"]) == (str(run.pk), "rewrap", "pending")
        assert said["key"] == {"id": str(key.pk), "alias": "tenant"}
        assert said["actor"]["name"] == "olga"
        assert said["created_at"].endswith("Z")

    def test_is_in_the_trail(self, api, key):
        api.post(ROTATIONS, {"key": str(key.pk)}, headers={"X-Request-ID": "deploy-7"})
        event = last_event()
        assert (event.action, event.actor_name, event.key_id) == ("start_rotation", "olga", key.pk)
        assert (event.request_id, event.address) == ("deploy-7", "127.0.0.1")
        assert event.after == {"run": str(RotationRun.objects.get().pk), "kind": "rewrap"}

    @committing
    def test_tells_the_worker(self, api):
        assert start(api).status_code == 202
        assert Patient.told == [RotationRun.objects.get().pk]

    @committing
    def test_moves_the_values(self, api, key, notes, settings):
        with_worker(settings, "Eager")
        assert left("tenant") == ROWS
        said = start(api).json()
        assert (said["state"], said["moved"], said["left"]) == ("completed", ROWS, 0)
        assert said["progress"] == [
            {"database": "default", "schema": None, "field": "tests.TenantNote.text",
             "total": ROWS, "moved": ROWS, "skipped": 0, "failed": 0, "left": 0}
        ]  # fmt: skip
        assert left("tenant") == 0
        assert api.get(key_url(key, "census")).json()["totals"][0]["values"] == 0
        assert [note.text for note in TenantNote.objects.order_by("pk")] == [
            note.text for note in notes
        ]
        event = last_event()
        assert (event.action, event.actor_name) == ("complete_rotation", "olga")

    @committing
    def test_with_a_transaction_around_each_request(self, api, monkeypatch, worker, settings):
        """Ours are not in it: the worker finds what it is told of."""
        monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
        assert start(api).status_code == 202
        assert worker.told == [RotationRun.objects.get().pk]
        rotation.cancel(worker.told[0])
        with_worker(settings, "Unreachable")
        problem(start(api), 503, "worker_unreachable")
        assert not RotationRun.objects.filter(keys__active_key__isnull=False).exists()

    def test_takes_what_the_command_takes(self, api, key, notes):
        response = start(
            api, kind="re_encrypt", versions=[1], fields=["tests.TenantNote.text"],
            database="default", batch_size=10, max_rate=100, sleep=0.5, nice_ratio=0.25,
        )  # fmt: skip
        assert response.status_code == 202, response.content
        run = RotationRun.objects.get()
        assert (run.kind, run.only_versions, run.only_database) == ("re_encrypt", [1], "default")
        assert run.only_fields == ["tests.TenantNote.text"]
        limits = Limits(batch_size=10, max_rate=100, sleep=0.5, nice_ratio=0.25)
        assert run.limits == limits.as_json()
        said = response.json()
        assert (said["versions"], said["fields"]) == ([1], ["tests.TenantNote.text"])
        assert said["database"] == "default"

    def test_another_one_on_the_key(self, api, key):
        first = start(api).json()
        said = problem(start(api), 409, "rotation_under_way")
        assert said["rotation"] == first["id"]
        assert first["id"] in said["detail"]
        assert RotationRun.objects.count() == 1

    def test_of_a_disabled_key(self, api, key):
        lifecycle.disable(key)
        problem(start(api), 409, "key_unusable")
        assert not RotationRun.objects.exists()

    def test_where_there_is_no_worker(self, api, settings):
        without_worker(settings)
        before = AuditEvent.objects.count()
        said = problem(start(api), 409, "no_worker")
        assert "ROTATION_WORKER" in said["detail"]
        assert "manage.py rewrap" in said["detail"]
        assert (RotationRun.objects.count(), AuditEvent.objects.count()) == (0, before)

    @committing
    def test_where_the_worker_is_out_of_reach(self, api, settings, caplog):
        with_worker(settings, "Unreachable")
        response = start(api)
        said = problem(response, 503, "worker_unreachable")
        assert "hunter2" not in response.text
        assert int(response["Retry-After"]) > 0
        run = RotationRun.objects.get()
        assert said["rotation"] == str(run.pk)
        assert (run.state, run.is_active, "ConnectionError" in run.error) == ("failed", False, True)
        acts = AuditEvent.objects.order_by("number").values_list("action", "outcome")
        assert list(acts)[-2:] == [("start_rotation", "done"), ("fail_rotation", "done")]
        assert "hunter2" in caplog.text  # whoever runs it sees why
        with_worker(settings, "Patient")
        assert start(api).status_code == 202


class TestBadInput:
    @pytest.mark.parametrize(
        ("content", "wrong"),
        [
            ({}, {"key"}),
            ({"key": None}, {"key"}),
            ({"key": "tenant"}, {"key"}),
            ({"key": "alias:\0"}, {"key"}),
            ({"kind": "shred"}, {"kind"}),
            ({"kind": ["rewrap"]}, {"kind"}),
            ({"kind": None}, {"kind"}),
            ({"versions": 1}, {"versions"}),
            ({"versions": "1"}, {"versions"}),
            ({"versions": {"1": 1}}, {"versions"}),
            ({"versions": [0]}, {"versions.0"}),
            ({"versions": [1, "2"]}, {"versions.1"}),
            ({"versions": [True]}, {"versions.0"}),
            ({"versions": [2**31]}, {"versions.0"}),
            ({"versions": [10**400]}, {"versions.0"}),
            ({"versions": [1] * 1001}, {"versions"}),
            ({"versions": [3]}, {"versions"}),
            ({"fields": "tests.Note.text"}, {"fields"}),
            ({"fields": [1]}, {"fields.0"}),
            ({"fields": ["\0"]}, {"fields.0"}),
            ({"fields": [""]}, {"fields.0"}),
            ({"fields": ["x" * 301]}, {"fields.0"}),
            ({"database": "nowhere"}, {"database"}),
            ({"database": ""}, {"database"}),
            ({"database": 1}, {"database"}),
            ({"batch_size": 0}, {"batch_size"}),
            ({"batch_size": 4097}, {"batch_size"}),
            ({"batch_size": 1.5}, {"batch_size"}),
            ({"max_rate": 0}, {"max_rate"}),
            ({"max_rate": 10**400}, {"max_rate"}),
            ({"sleep": -1}, {"sleep"}),
            ({"sleep": "1"}, {"sleep"}),
            ({"sleep": True}, {"sleep"}),
            ({"sleep": 10**400}, {"sleep"}),
            ({"sleep": None}, {"sleep"}),
            ({"nice_ratio": -1}, {"nice_ratio"}),
            ({"nice_ratio": 101}, {"nice_ratio"}),
            ({"force": True}, {"force"}),
        ],
    )
    def test_is_named(self, api, notes, content, wrong):
        before = AuditEvent.objects.count()
        given = content if "key" in wrong else {"key": "alias:tenant", **content}
        response = api.post(ROTATIONS, given)
        assert wrong_fields(response) == wrong
        assert (RotationRun.objects.count(), AuditEvent.objects.count()) == (0, before)

    @pytest.mark.parametrize("text", ["1e400", "-1e400"])
    def test_numbers_that_no_float_can_be(self, api, text):
        content = f'{{"key": "alias:tenant", "sleep": {text}}}'
        response = api.post(ROTATIONS, content, content_type="application/json")
        assert wrong_fields(response) == {"sleep"}

    def test_fields_that_are_not_there(self, api):
        said = problem(start(api, fields=["tests.Note.nothing"]), 400, "no_such_field")
        assert said["errors"][0]["field"] == "fields"
        assert not RotationRun.objects.exists()

    @pytest.mark.parametrize("named", ["alias:unknown", "0b8cf4b2-4f6e-4d5c-8f50-5d8d3a6ab0f1"])
    def test_keys_that_are_not_there(self, api, named):
        problem(start(api, key=named), 404, "not_found")

    def test_a_key_that_one_may_not_see(self, client_of, key):
        client = client_of(officer("oscar"))
        unseen, unknown = start(client), start(client, key="alias:unknown")
        assert problem(unseen, 404) == problem(unknown, 404)
        assert (last_event().outcome, last_event().action) == ("denied", "re_encrypt")

    @pytest.mark.parametrize(
        "query",
        ["state=x", "kind=x", "state=", "key=x", "key=alias:%00", "page=0", "page_size=201",
         "nothing=1", "state=failed&state=paused"],
    )  # fmt: skip
    def test_in_queries(self, api, query):
        problem(api.get(f"{ROTATIONS}?{query}"), 400, "invalid")


class TestReading:
    def test_progress(self, api, notes, monkeypatch):
        monkeypatch.setattr("envelope_fields.jobs.ranges.SMALLEST", 5)
        alter(notes[0])
        run = rotation.start("tenant", limits=Limits(batch_size=5))
        rotation.run(run, watch=lambda tally: rotation.pause(run))
        assert run.state == "paused"
        seen = run.heartbeat_at - timedelta(minutes=1)  # whoever works on it says so each second
        RotationRun.objects.update(
            resumed_at=seen - timedelta(seconds=1), heartbeat_at=seen, state="running"
        )
        said = api.get(run_url(run)).json()
        assert (said["total"], said["moved"], said["failed"], said["left"]) == (ROWS, 4, 1, 7)
        assert (said["rate"], said["seconds_left"]) == (2.0, 4)
        assert said["progress"][0]["field"] == "tests.TenantNote.text"
        assert said["seen_at"].endswith("Z")

    def test_one_that_stopped_says_why(self, api, key, notes):
        run = rotation.start("tenant")
        lifecycle.disable(key)
        with pytest.raises(MasterKeyUnusable):
            rotation.run(run)
        said = api.get(run_url(run)).json()
        assert said["state"] == "failed"
        assert "disabled" in said["error"]
        assert said["finished_at"].endswith("Z")

    def test_failures(self, api, key, notes):
        for note in notes[:3]:
            alter(note)
        run = rotation.run("tenant")
        said = api.get(run_url(run, "failures")).json()
        assert said["count"] == 3
        assert said["results"][0] == {
            "database": "default",
            "schema": None,
            "field": "tests.TenantNote.text",
            "row": str(notes[0].pk),
            "version_id": bytes(key.versions.get(number=1).version_id).hex(),
            "cause": "UnwrapFailed",
            "message": "its data key does not open: altered, or moved here from another place",
        }
        page = api.get(f"{run_url(run, 'failures')}?page_size=2&page=2").json()
        assert [each["row"] for each in page["results"]] == [str(notes[2].pk)]
        problem(api.get(f"{run_url(run, 'failures')}?page=9"), 404)

    def test_failures_take_few_queries(self, api, key, notes):
        counts = []
        for some in (notes[:3], notes[3:9]):
            for note in some:
                alter(note)
            rotate_master_key(key)
            run = rotation.run("tenant")
            with CaptureQueriesContext(connection) as queries:
                said = api.get(run_url(run, "failures")).json()
            counts.append(len(queries))
        assert said["count"] == 9
        assert counts[0] == counts[1] <= 12

    def test_head_and_options(self, api, key):
        run = rotation.start("tenant")
        assert api.head(run_url(run))["ETag"] == api.get(run_url(run))["ETag"]
        for address in [ROTATIONS, run_url(run), run_url(run, "failures"), run_url(run, "pause")]:
            assert api.options(address).status_code == 200, address
            problem(api.delete(address), 405)


class TestListing:
    @pytest.fixture
    def runs(self, key, olga):
        create_master_key("lab", actor=olga)
        first = rotation.run("tenant")
        rotation.cancel(rotation.start("lab", kind="re_encrypt"))
        second = rotation.start("tenant")
        now = timezone.now()
        of_lab = RotationRun.objects.get(master_key__alias="lab")
        for age, run in enumerate([second, of_lab, first]):
            RotationRun.objects.filter(pk=run.pk).update(created_at=now - timedelta(hours=age))
        return RotationRun.objects

    def found(self, client, **query):
        said = client.get(ROTATIONS, query).json()
        return [(run["key"]["alias"], run["state"]) for run in said["results"]]

    def test_newest_first(self, api, runs):
        assert self.found(api) == [
            ("tenant", "pending"), ("lab", "cancelled"), ("tenant", "completed"),
        ]  # fmt: skip

    def test_filters(self, api, key, runs):
        assert self.found(api, key="alias:lab") == [("lab", "cancelled")]
        assert len(self.found(api, key=str(key.pk))) == 2
        assert self.found(api, key="alias:unknown") == []
        assert self.found(api, state="pending") == [("tenant", "pending")]
        assert self.found(api, kind="re_encrypt") == [("lab", "cancelled")]
        assert self.found(api, kind="re_encrypt", key=str(key.pk)) == []

    def test_pages(self, api, runs):
        said = api.get(ROTATIONS, {"page_size": 2}).json()
        assert (said["count"], len(said["results"]), said["previous"]) == (3, 2, None)
        assert len(api.get(said["next"]).json()["results"]) == 1

    def test_only_of_keys_that_one_may_describe(self, client_of, runs, key):
        client = client_of(reader("rita", key=key))
        assert {alias for alias, _ in self.found(client)} == {"tenant"}
        assert self.found(client, key="alias:lab") == []

    def test_few_queries(self, api, notes, key):
        counts = []
        for _ in range(2):
            for _ in range(3):
                rotation.run("tenant")
            with CaptureQueriesContext(connection) as queries:
                said = api.get(ROTATIONS).json()
            counts.append(len(queries))
        assert (said["count"], said["results"][-1]["moved"]) == (6, ROWS)
        assert counts[0] == counts[1] <= 12
