"""Blind indexes over HTTP: seen, rebuilt, verified, and brought from state to state."""

import pytest
from django.contrib.auth.models import User
from django.db import connection

from envelope_fields import rotation
from envelope_fields.census import columns
from envelope_fields.grants import grant
from envelope_fields.indexing import run, start
from envelope_fields.models import AuditEvent, BlindIndex, MasterKey, RotationRun
from envelope_fields.policy import APPLICATION, Action
from envelope_fields.rotation import Limits
from tests.admin import officer
from tests.api import ROOT, last_event, problem, url
from tests.api.rotations import without_worker
from tests.models.indexed import MODELS, Person, same_day_and_reason
from tests.models.keyed import only
from tests.models.tables import tables_of

pytestmark = [
    pytest.mark.any_database,
    pytest.mark.django_db(databases="__all__"),
    pytest.mark.usefixtures("worker", "people"),
]

tables = tables_of(MODELS)
LABEL = "tests.person.email_index"
INDEXES = url("indexes")


def index_url(*parts, label=LABEL):
    return url("indexes", label, *parts)


@pytest.fixture
def people(monkeypatch):
    monkeypatch.setattr(columns, "apps", only(*MODELS))
    found = [Person.objects.create(email=f"Ada{number}@Example.org") for number in range(3)]
    BlindIndex.objects.filter(label=LABEL).update(state="filling")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE tests_person SET email_index = NULL")
    return found


@pytest.fixture
def search(people, olga):
    """The search key, on which the officer has all rights."""
    key = MasterKey.objects.get(alias="search")
    grant(key, olga, tuple(Action), actor=APPLICATION)
    return key


def done(kind):
    index = Person._meta.get_field("email_index")
    return run(start(index, kind, using="default"))


class TestReading:
    def test_the_list(self, api, search):
        said = api.get(INDEXES).json()
        labels = [each["label"] for each in said["results"]]
        assert labels == sorted(labels)
        [found] = [each for each in said["results"] if each["label"] == LABEL]
        assert (found["state"], found["next"]) == ("filling", ["verified", "retired"])
        assert (found["fields"], found["unique"]) == (["tests.Person.email"], True)
        assert (found["normalizer"], found["shared"]) == ("email", "address")
        [pin] = found["keys"]
        assert (pin["alias"], pin["version"]) == ("search", 1)
        assert (found["verified"], found["verification"], found["run"]) == (False, None, None)

    def test_picked(self, api, search):
        assert [
            each["label"] for each in api.get(INDEXES, {"state": "filling"}).json()["results"]
        ] == [LABEL]
        assert api.get(INDEXES, {"key": "alias:search"}).json()["count"]
        assert api.get(INDEXES, {"key": "alias:tenant"}).json()["count"] == 0
        problem(api.get(INDEXES, {"state": "done"}), 400)

    def test_one(self, api, search):
        done("rebuild_index")
        with connection.cursor() as cursor:
            cursor.execute("UPDATE tests_person SET email_index = NULL WHERE id = %s", [
                Person.objects.order_by("pk").first().pk
            ])  # fmt: skip
        response = api.get(index_url())
        said = response.json()
        [rows] = [each for each in said["rows"] if each["database"] == "default"]
        assert (rows["key"], rows["number"], rows["values"]) == ("search", 1, 2)
        assert said["missing"] == 1
        assert response["ETag"]
        assert "example" not in response.text.lower()

    def test_what_a_verification_has_found(self, api, search):
        done("rebuild_index")
        verified = done("verify_index")
        said = api.get(index_url()).json()
        assert said["verified"] is True
        assert (said["verification"]["run"], said["verification"]["rows"]) == (str(verified.pk), 3)
        assert said["verification"]["wrong"] == 0

    def test_case_does_not_count(self, api, search):
        assert api.get(index_url(label="tests.Person.email_index")).json()["label"] == LABEL

    def test_one_that_no_model_has(self, api, search):
        BlindIndex.objects.create(
            label="old.patient.index", name="field:old.patient.index", normalizer="exact",
            normalizer_version=1, fingerprint="0" * 32, state="retired",
        )  # fmt: skip
        said = api.get(index_url(label="old.patient.index")).json()
        assert (said["declared"], said["rows"], said["missing"]) == (False, [], None)
        problem(api.post(index_url("rebuild", label="old.patient.index")), 404)

    @pytest.mark.parametrize(
        "label",
        ["tests.person.email", "x", "tests.person.email_index.x", "%00", "%ED%9F%BF", "x" * 1000],
    )
    def test_one_that_is_not_there(self, api, search, label):
        problem(api.get(index_url(label=label)), 404, "not_found")

    def test_how_many_queries(self, api, search, django_assert_max_num_queries):
        with django_assert_max_num_queries(20):
            api.get(INDEXES)

    def test_the_root_names_them(self, api):
        assert api.get(ROOT).json()["indexes"] == f"http://testserver{INDEXES}"


class TestRuns:
    @pytest.mark.parametrize(
        ("act", "kind"), [("rebuild", "rebuild_index"), ("verify", "verify_index")]
    )
    def test_they_are_started(self, api, search, act, kind):
        response = api.post(index_url(act), {"max_rate": 100, "batch_size": 10, "nice_ratio": 2})
        assert response.status_code == 202, response.content
        said = response.json()
        assert (said["kind"], said["state"], said["fields"]) == (
            kind, "pending", ["tests.Person.email_index"],
        )  # fmt: skip
        assert said["actor"]["name"] == "olga"
        made = RotationRun.objects.get(pk=said["id"])
        limits = Limits(max_rate=100, batch_size=10, nice_ratio=2)
        assert made.limits == limits.as_json()
        assert api.get(response["Location"]).json()["id"] == said["id"]
        assert (last_event().action, last_event().actor_name) == (kind, "olga")
        assert api.get(index_url()).json()["run"] == said["id"]
        run(made)
        done_now = api.get(response["Location"]).json()
        assert done_now["state"] == "completed"
        listed = api.get(f"{response['Location']}failures/").json()["results"]
        assert [each["cause"] for each in listed] == (["Missing"] * 3 if act == "verify" else [])

    def test_a_start_that_is_sent_twice(self, api, search):
        headers = {"Idempotency-Key": '"deploy-7"'}
        first = api.post(index_url("rebuild"), {}, headers=headers).json()
        rotation.cancel(RotationRun.objects.get())
        assert api.post(index_url("rebuild"), {}, headers=headers).json()["id"] == first["id"]
        problem(api.post(index_url("rebuild"), {"max_rate": 1}, headers=headers), 422)
        assert api.post(index_url("rebuild"), {}).json()["id"] != first["id"]

    def test_one_is_under_way(self, api, search):
        first = api.post(index_url("rebuild"), {}).json()
        assert api.post(index_url("rebuild"), {}).json()["id"] == first["id"]
        said = problem(api.post(index_url("verify"), {}), 409, "rotation_under_way")
        assert said["rotation"] == first["id"]

    def test_pause_and_cancel(self, api, search):
        run_url = api.post(index_url("rebuild"), {})["Location"]
        assert api.post(f"{run_url}pause/").json()["state"] == "paused"
        assert api.post(f"{run_url}cancel/").json()["state"] == "cancelled"

    def test_without_a_worker(self, api, search, settings):
        without_worker(settings)
        problem(api.post(index_url("rebuild"), {}), 409, "no_worker")
        assert not RotationRun.objects.exists()

    @pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"max_rate": "x"}, {"versions": [1]}])
    def test_bad_input(self, api, search, wrong):
        problem(api.post(index_url("rebuild"), wrong), 400)


class TestCollisions:
    def test_they_are_named_by_their_rows(self, api, search, people):
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE tests_person SET email = (SELECT email FROM (SELECT email, id FROM "
                "tests_person) AS others WHERE id = %s) WHERE id = %s",
                [people[0].pk, people[2].pk],
            )
        response = api.post(index_url("collisions"))
        said = response.json()
        [found] = [each for each in said["tables"] if each["database"] == "default"]
        assert (found["values"], found["colliding"], found["unreadable"]) == (3, 1, 0)
        rows = {"row": str(people[0].pk), "other": str(people[2].pk)}
        assert found["collisions"] == [{**rows, "constraint": ""}]
        assert "example" not in response.text.lower()

    def test_by_a_constraint(self, api, search, people):
        visits = same_day_and_reason(people[0])
        said = api.post(index_url("collisions", label="tests.visit.reason_index")).json()
        [found] = [each for each in said["tables"] if each["database"] == "default"]
        rows = {"row": str(visits[0].pk), "other": str(visits[1].pk)}
        assert found["collisions"] == [
            {**rows, "constraint": ""}, {**rows, "constraint": "one_reason_a_day"},
        ]  # fmt: skip


class TestStates:
    def test_too_early(self, api, search):
        said = problem(api.post(index_url("state"), {"state": "reading"}), 409, "index_not_ready")
        assert "no verification" in said["detail"]
        assert BlindIndex.objects.get(label=LABEL).state == "filling"

    def test_the_whole_way(self, api, search, known_at_once):
        done("rebuild_index")
        for state in ("verified", "reading"):
            done("verify_index")
            said = api.post(index_url("state"), {"state": state}).json()
            assert said["state"] == state
        event = last_event()
        assert (event.action, event.actor_name, event.key_alias) == (
            "change_index",
            "olga",
            "search",
        )
        assert (event.before["state"], event.after["state"]) == ("verified", "reading")
        problem(api.post(index_url("state"), {"state": "retired"}), 409, "index_not_ready")

    def test_what_was_seen(self, api, search, known_at_once):
        seen = api.get(index_url())["ETag"]
        done("rebuild_index")
        done("verify_index")
        headers = {"If-Match": seen}
        response = api.post(index_url("state"), {"state": "verified"}, headers=headers)
        assert response.status_code == 200, response.content
        done("verify_index")
        problem(api.post(index_url("state"), {"state": "reading"}, headers=headers), 412)
        headers = {"If-Match": response["ETag"]}
        assert (
            api.post(index_url("state"), {"state": "reading"}, headers=headers).status_code == 200
        )

    @pytest.mark.parametrize("given", [{}, {"state": "new"}, {"state": None}, {"to": "reading"}])
    def test_bad_input(self, api, search, given):
        problem(api.post(index_url("state"), given), 400)


ACTS = [("rebuild", {}), ("verify", {}), ("collisions", {}), ("state", {"state": "retired"})]


class TestWhoMay:
    @pytest.mark.parametrize(("act", "given"), ACTS)
    def test_a_reader_changes_nothing(self, client_of, search, act, given):
        ben = officer("ben", permissions=["view_masterkey", "view_blindindex"])
        grant(search, ben, tuple(Action), actor=APPLICATION)
        client = client_of(ben)
        assert client.get(index_url()).status_code == 200
        problem(client.post(index_url(act), given), 403, "permission_denied")
        assert (last_event().outcome, last_event().actor_name) == ("denied", "ben")
        assert not RotationRun.objects.exists()

    @pytest.mark.parametrize(("act", "given"), [("state", {"state": "retired"})])
    def test_permissions_are_not_grants(self, client_of, people, act, given):
        problem(client_of(officer("oscar")).post(index_url(act), given), 403)
        assert BlindIndex.objects.get(label=LABEL).state == "filling"

    def test_without_the_permission_to_see_them(self, client_of, search):
        client = client_of(officer("ben", permissions=["view_masterkey"], key=search))
        problem(client.get(INDEXES), 403)
        problem(client.get(index_url()), 403)

    @pytest.mark.parametrize("act", ["", *(act for act, _ in ACTS)])
    def test_an_index_whose_key_may_not_be_seen_is_not_there(self, client_of, people, act):
        MasterKey.objects.filter(alias="search").update(managed_by="customer")
        client = client_of(officer("oscar"))
        answers = [
            (client.post if act else client.get)(index_url(*filter(None, [act]), label=label))
            for label in (LABEL, "tests.person.unknown")
        ]
        assert answers[0].content == answers[1].content
        problem(answers[0], 404)
        assert LABEL not in [each["label"] for each in client.get(INDEXES).json()["results"]]

    def test_a_user_without_permissions(self, client_of, search):
        client = client_of(User.objects.create_user("carl"))
        for each in (INDEXES, index_url()):
            problem(client.get(each), 403)
        assert not AuditEvent.objects.filter(actor_name="carl", outcome="done").exists()
