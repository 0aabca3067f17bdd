"""Acts over HTTP: done once, refused with a reason, and always in the trail."""

import pytest
from django.conf import settings as project
from django.db import connection
from django.test.utils import CaptureQueriesContext

from envelope_fields import kms
from envelope_fields.exceptions import EnvelopeError
from envelope_fields.lifecycle import create_master_key
from envelope_fields.models import AuditEvent, MasterKey
from envelope_fields.policy import Action
from tests.admin import officer
from tests.api import key_url, last_event, problem, reader, url, wrong_fields
from tests.models import TenantNote

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(databases="__all__")]

ACTS = ["rotate", "enable", "disable", "schedule-deletion", "cancel-deletion", "shred"]


def test_rotate(api, key):
    response = api.post(key_url(key, "rotate"), headers={"X-Request-ID": "deploy-7"})
    assert (response.status_code, response.json()["current_version"]) == (200, 2)
    event = last_event()
    assert (event.action, event.actor_name) == ("rotate", "olga")
    assert (event.request_id, event.address) == ("deploy-7", "127.0.0.1")
    assert response["X-Request-ID"] == "deploy-7"


def test_disable_and_enable(api, key):
    note = TenantNote.objects.create(tenant="tenant", text="a")
    for _ in range(2):
        assert api.post(key_url(key, "disable")).json()["state"] == "disabled"
    with pytest.raises(EnvelopeError):
        note.refresh_from_db()
    said = problem(api.post(key_url(key, "rotate")), 409, "key_unusable")
    assert "Enable it first" in said["detail"]
    assert api.post(key_url(key, "enable")).json()["state"] == "enabled"
    note.refresh_from_db()
    assert AuditEvent.objects.filter(action="disable").count() == 1


class TestVersions:
    def test_list(self, api, key):
        api.post(key_url(key, "rotate"))
        response = api.get(key_url(key, "versions"))
        found = response.json()["results"]
        assert [(each["number"], each["current"]) for each in found] == [(2, True), (1, False)]
        assert found[0]["version_id"] == bytes(key.current_version.version_id).hex()
        assert "material" not in response.text
        assert api.get(key_url(key, "versions", 1)).json() == found[1]
        assert api.get(url("keys", "alias:tenant", "versions")).json() == response.json()

    def test_acts(self, api, key):
        api.post(key_url(key, "rotate"))
        done = api.post(key_url(key, "versions", 1, "disable"))
        assert (done.json()["number"], done.json()["state"]) == (1, "disabled")
        assert api.post(key_url(key, "versions", 1, "enable")).json()["state"] == "enabled"
        done = api.post(key_url(key, "versions", 1, "schedule-deletion"), {"days": 7})
        assert done.json()["state"] == "pending_deletion"
        done = api.post(key_url(key, "versions", 1, "cancel-deletion"))
        assert done.json()["state"] == "disabled"

    def test_the_current_one_has_none(self, api, key):
        said = problem(api.post(key_url(key, "versions", 1, "disable")), 409)
        assert "is the current one" in said["detail"]

    @pytest.mark.parametrize("number", ["0", "2", "99999999999", "9" * 40, "9" * 5000, "-1", "x"])
    def test_one_that_is_not_there(self, api, key, number):
        problem(api.get(key_url(key, "versions", number)), 404)
        problem(api.post(key_url(key, "versions", number, "disable")), 404)

    def test_what_is_not_done_to_versions(self, api, key):
        problem(api.post(key_url(key, "versions", 1, "rotate")), 404)

    def test_few_queries(self, api, key):
        counts = []
        for _ in range(2):
            api.post(key_url(key, "rotate"))
            with CaptureQueriesContext(connection) as queries:
                api.get(key_url(key, "versions"))
            counts.append(len(queries))
        assert counts[0] == counts[1] <= 12


class TestDeletion:
    def test_there_and_back(self, api, key):
        said = api.post(key_url(key, "schedule-deletion"), {"days": 7}).json()
        assert (said["state"], said["deletion_at"][-1]) == ("pending_deletion", "Z")
        problem(api.post(key_url(key, "schedule-deletion"), {"days": 8}), 409, "key_unusable")
        said = api.post(key_url(key, "cancel-deletion")).json()
        assert (said["state"], said["deletion_at"]) == ("disabled", None)

    def test_thirty_days_if_nothing_is_said(self, api, key):
        assert api.post(key_url(key, "schedule-deletion")).status_code == 200

    def test_values_are_in_the_way(self, api, key):
        TenantNote.objects.create(tenant="tenant", text="a")
        said = problem(api.post(key_url(key, "schedule-deletion")), 409, "key_in_use")
        assert said["rows"] == [
            {"database": "default", "model": "tests.TenantNote", "field": "text", "values": 1}
        ]
        key.refresh_from_db()
        assert key.state == "enabled"

    @pytest.mark.parametrize("days", [6, 31, "7", 7.5, None, True, [7]])
    def test_another_period(self, api, key, days):
        assert wrong_fields(api.post(key_url(key, "schedule-deletion"), {"days": days})) == {"days"}
        key.refresh_from_db()
        assert key.state == "enabled"

    def test_what_kms_gave_out_takes_a_name(self, api, key):
        kms.encrypt("tenant", b"a", {})
        address = key_url(key, "schedule-deletion")
        said = problem(api.post(address), 409, "confirmation_required")
        assert said["errors"][0]["field"] == "confirm"
        assert said["expected"] == f"tenant@{said['last_use']}"
        for other in ("default", "tenant"):
            problem(api.post(address, {"confirm": other}), 409, "confirmation_required")
        assert api.post(address, {"confirm": said["expected"]}).status_code == 200


class TestShredding:
    @pytest.fixture(autouse=True)
    def known_at_once(self, settings):
        settings.ENVELOPE_FIELDS = {**project.ENVELOPE_FIELDS, "KEY_CACHE_SECONDS": 0}

    def test_in_two_calls(self, api, key):
        TenantNote.objects.create(tenant="tenant", text="a", data={})
        address = key_url(key, "shred")
        shown = api.get(address).json()
        assert (shown["name"], shown["total"], shown["ready_at"]) == ("tenant", 2, None)
        agreed = {"confirm": shown["name"], "fields": shown["fields"]}
        first = api.post(address, agreed)
        assert (first.status_code, first["Retry-After"]) == (202, "0")
        assert api.get(key_url(key)).json()["state"] == "disabled"
        assert api.get(address).json()["ready_at"] == first.json()["ready_at"]
        second = api.post(address, agreed)
        assert (second.status_code, second.json()["total"]) == (200, 2)
        assert second.json()["actor"] == "olga"
        event = last_event()
        assert (event.action, event.number) == ("shred", second.json()["event"])
        assert api.get(key_url(key)).json()["state"] == "destroyed"
        assert api.post(address, agreed).json() == second.json()

    def test_a_version(self, api, key):
        api.post(key_url(key, "rotate"))
        address = key_url(key, "versions", 1, "shred")
        assert api.get(address).json()["total"] == 0
        agreed = {"confirm": "tenant", "fields": []}
        assert [api.post(address, agreed).status_code for _ in range(2)] == [202, 200]
        assert api.get(key_url(key)).json()["state"] == "enabled"

    def test_another_name(self, api, key):
        said = problem(
            api.post(key_url(key, "shred"), {"confirm": "default", "fields": []}),
            409, "confirmation_required",
        )  # fmt: skip
        assert said["expected"] == "tenant"
        key.refresh_from_db()
        assert key.state == "enabled"

    def test_more_values_than_were_shown(self, api, key):
        agreed = {"confirm": "tenant", "fields": api.get(key_url(key, "shred")).json()["fields"]}
        TenantNote.objects.create(tenant="tenant", text="b")
        api.post(key_url(key, "shred"), agreed)
        said = problem(api.post(key_url(key, "shred"), agreed), 409, "confirmation_required")
        assert "More values" in said["detail"]
        key.refresh_from_db()
        assert key.state == "disabled"

    def test_too_early(self, api, key, settings):
        settings.ENVELOPE_FIELDS = {**project.ENVELOPE_FIELDS, "KEY_CACHE_SECONDS": 60}
        agreed = {"confirm": "tenant", "fields": []}
        for _ in range(2):
            response = api.post(key_url(key, "shred"), agreed)
            assert response.status_code == 202
            assert 0 < int(response["Retry-After"]) <= 60
        key.refresh_from_db()
        assert key.state == "disabled"

    @pytest.mark.parametrize(
        ("content", "wrong"),
        [
            ({}, {"confirm", "fields"}),
            ({"confirm": "tenant"}, {"fields"}),
            ({"fields": []}, {"confirm"}),
            ({"confirm": "tenant", "fields": {}}, {"fields"}),
            ({"confirm": "tenant", "fields": ["x"]}, {"fields.0"}),
            ({"confirm": "tenant", "fields": [{"database": "a", "model": "b", "field": "c"}]},
             {"fields.0.values"}),
            ({"confirm": "tenant", "fields": [{"database": "a", "model": "b", "field": "c",
              "values": 2**63}]}, {"fields.0.values"}),
            ({"confirm": "tenant", "fields": [], "force": True}, {"force"}),
        ],
    )  # fmt: skip
    def test_bad_input(self, api, key, content, wrong):
        assert wrong_fields(api.post(key_url(key, "shred"), content)) == wrong
        key.refresh_from_db()
        assert key.state == "enabled"


class TestWithoutTheRight:
    @pytest.mark.parametrize("act", ACTS)
    def test_without_the_permission(self, client_of, key, act):
        user = officer("rita", permissions=["view_masterkey"], key=key)
        problem(client_of(user).post(key_url(key, act)), 403, "permission_denied")
        event = last_event()
        assert (event.outcome, event.actor_name, event.key_id) == ("denied", "rita", key.pk)
        key.refresh_from_db()
        assert (key.state, key.versions.count()) == ("enabled", 1)

    @pytest.mark.parametrize("act", ACTS)
    def test_without_the_grant(self, client_of, key, act):
        user = officer("rita", key=key, actions=[Action.DESCRIBE])
        problem(client_of(user).post(key_url(key, act)), 403, "permission_denied")
        event = last_event()
        assert (event.outcome, event.actor_name) == ("denied", "rita")
        key.refresh_from_db()
        assert (key.state, key.versions.count()) == ("enabled", 1)

    def test_of_reading_what_would_be_shredded(self, client_of, key):
        client = client_of(reader(key=key))
        problem(client.get(key_url(key, "shred")), 403)


@pytest.mark.parametrize("act", ACTS)
def test_what_it_does_not_know_is_refused(api, key, act):
    before = AuditEvent.objects.count()
    response = api.post(key_url(key, act), {"force": True, "confirm": "tenant", "fields": []})
    assert "force" in wrong_fields(response)
    assert wrong_fields(api.post(f"{key_url(key, act)}?days=7")) == {"days"}
    key.refresh_from_db()
    assert (key.state, AuditEvent.objects.count()) == ("enabled", before)


@pytest.mark.django_db(transaction=True, databases="__all__")
def test_with_a_transaction_around_each_request(api, client_of, key, monkeypatch, settings):
    settings.ENVELOPE_FIELDS = {**project.ENVELOPE_FIELDS, "KEY_CACHE_SECONDS": 0}
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    api.post(key_url(key, "rotate"))
    assert key.versions.count() == 2
    agreed = {"confirm": "tenant", "fields": []}
    assert [api.post(key_url(key, "shred"), agreed).status_code for _ in range(2)] == [202, 200]
    client = client_of(officer("rita", permissions=["view_masterkey"]))
    default = MasterKey.objects.get(alias="default")
    problem(client.post(key_url(default, "rotate")), 403)
    assert last_event().outcome == "denied"


@pytest.mark.django_db(transaction=True, databases="__all__")
def test_keys_of_their_own_database(api, olga, settings, key):
    """Changes there are durable transactions, which no other may be around."""
    settings.ENVELOPE_FIELDS = {**project.ENVELOPE_FIELDS, "DATABASE": "other"}
    made = create_master_key("apart", actor=olga)
    seen = {"If-Match": api.get(key_url(made))["ETag"]}
    assert api.post(key_url(made, "rotate"), headers=seen).status_code == 200
    problem(api.post(key_url(made, "rotate"), headers=seen), 412)
    assert api.patch(key_url(made), {"alias": "b"}).json()["alias"] == "b"
    problem(api.get(key_url(key)), 404)
