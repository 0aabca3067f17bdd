"""A start that is sent twice is done once."""

import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from envelope_fields import audit, lifecycle, rotation
from envelope_fields.grants import grant, revoke
from envelope_fields.lifecycle import create_master_key, rotate_master_key
from envelope_fields.models import AuditEvent, RotationRun
from envelope_fields.policy import APPLICATION, Action
from tests.admin import officer
from tests.api import problem, wrong_fields
from tests.api.rotations import ROTATIONS, committing, start, with_worker
from tests.at_once import at_once
from tests.rotation import left

pytestmark = [
    pytest.mark.django_db(databases="__all__"),
    pytest.mark.usefixtures("worker"),
]
ROWS = 12


class TestStartingTwice:
    @staticmethod
    def start(client, name='"deploy-7"', **content):
        return client.post(
            ROTATIONS, {"key": "alias:tenant", **content}, headers={"Idempotency-Key": name}
        )

    def test_is_once(self, api):
        first, second = self.start(api), self.start(api)
        assert first.status_code == second.status_code == 202
        assert (first["Location"], first.json()) == (second["Location"], second.json())
        assert RotationRun.objects.count() == 1
        assert AuditEvent.objects.filter(action="start_rotation").count() == 1

    @committing
    def test_also_when_it_is_over(self, api, notes, settings):
        with_worker(settings, "Eager")
        first = self.start(api).json()
        assert first["state"] == "completed"
        rotate_master_key("tenant")
        assert self.start(api).json()["id"] == first["id"]
        assert left("tenant") == ROWS
        assert self.start(api, "another").json()["id"] != first["id"]
        assert left("tenant") == 0

    def test_when_somebody_cancelled_it_and_started_another(self, api):
        first = self.start(api).json()
        rotation.cancel(uuid.UUID(first["id"]))
        second = start(api).json()
        assert self.start(api).json()["id"] == first["id"] != second["id"]

    def test_when_the_alias_has_moved(self, api, olga, key):
        first = self.start(api).json()
        create_master_key("other", actor=olga)
        lifecycle.move_alias("tenant", "other", actor=APPLICATION)
        assert self.start(api).json()["id"] == first["id"]

    def test_with_and_without_quotes(self, api):
        assert self.start(api, "deploy-7").json() == self.start(api).json()
        assert self.start(api, r'"a\"b"').status_code == 409

    def test_cases_differ(self, api):
        self.start(api, "deploy-a")
        problem(self.start(api, "deploy-A"), 409, "rotation_under_way")

    def test_what_is_left_out_is_what_it_is_by_default(self, api):
        assert self.start(api).json() == self.start(api, kind="rewrap", sleep=0).json()

    @pytest.mark.parametrize(
        "content",
        [{"kind": "re_encrypt"}, {"versions": [1]}, {"key": "alias:default"}, {"sleep": 1}],
    )
    def test_with_something_else(self, api, content):
        first = self.start(api).json()
        response = self.start(api, **content)
        said = problem(response, 422, "idempotency_key_reused")
        assert (said["rotation"], said["errors"][0]["field"]) == (first["id"], "Idempotency-Key")
        assert RotationRun.objects.count() == 1

    @pytest.mark.parametrize(
        "name",
        ["", '"', '""', '"a', 'a"', "a b", '"a", "b"', "a,b", '"\\a"', "é", '"é"', "a" * 201,
         '"' + "a" * 201 + '"', "a;b=1", "\x01"],
    )  # fmt: skip
    def test_by_a_name_that_is_none(self, api, name):
        assert wrong_fields(self.start(api, name)) == {"Idempotency-Key"}
        assert not RotationRun.objects.exists()

    def test_names_are_of_those_who_gave_them(self, api, client_of, key):
        self.start(api)
        other = client_of(officer("oscar", key=key))
        problem(self.start(other), 409, "rotation_under_way")

    def test_whoever_may_not_any_more(self, api, olga, key):
        self.start(api)
        given = key.grants.get(principal_id=str(olga.pk))
        grant(key, olga, [Action.DESCRIBE], actor=APPLICATION)
        revoke(given, override="tenant", actor=APPLICATION)
        problem(self.start(api), 403)

    def test_bad_ones_are_not_remembered(self, api, key):
        lifecycle.disable(key)
        problem(self.start(api), 409, "key_unusable")
        lifecycle.enable(key)
        assert self.start(api).status_code == 202

    @committing
    def test_after_nobody_could_be_told(self, api, settings):
        with_worker(settings, "Unreachable")
        problem(self.start(api), 503, "worker_unreachable")
        with_worker(settings, "Patient")
        assert self.start(api).json()["state"] == "pending"
        assert RotationRun.objects.count() == 2

    @committing
    def test_the_worker_is_told_again_of_what_nobody_began(self, api, worker):
        first = self.start(api).json()
        self.start(api)
        assert list(map(str, worker.told)) == [first["id"]]
        RotationRun.objects.update(created_at=timezone.now() - timedelta(seconds=11))
        self.start(api)
        assert list(map(str, worker.told)) == [first["id"]] * 2
        RotationRun.objects.update(state="running")
        self.start(api)
        assert len(worker.told) == 2

    @committing
    def test_at_once(self, client_of, olga):
        clients = [client_of(olga) for _ in range(6)]
        answers = at_once(*(lambda client=client: self.start(client) for client in clients))
        assert {answer.status_code for answer in answers} == {202}
        assert len({answer["Location"] for answer in answers}) == 1
        assert RotationRun.objects.count() == 1
        assert AuditEvent.objects.filter(action="start_rotation").count() == 1
        assert audit.verify().intact

    @committing
    def test_at_once_on_two_keys(self, client_of, olga):
        """Which no lock of one key keeps apart."""
        create_master_key("lab", actor=olga)
        names = ["alias:tenant", "alias:lab"] * 3
        clients = [(client_of(olga), name) for name in names]
        answers = at_once(
            *(lambda client=client, name=name: self.start(client, key=name)
              for client, name in clients)
        )  # fmt: skip
        assert sorted(answer.status_code for answer in answers) == [202] * 3 + [422] * 3
        assert RotationRun.objects.count() == 1

    @committing
    def test_keys_of_their_own_database(self, api, olga, settings):
        ours = settings.ENVELOPE_FIELDS
        settings.ENVELOPE_FIELDS = {**ours, "DATABASE": "other"}
        create_master_key("apart", actor=olga)
        first = self.start(api, key="alias:apart")
        assert self.start(api, key="alias:apart").json() == first.json()
        assert RotationRun.objects.using("other").count() == 1
        assert not RotationRun.objects.using("default").exists()
        assert api.get(first["Location"]).json() == first.json()
