"""Grants over HTTP."""

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.test.utils import CaptureQueriesContext

from envelope_fields.grants import grant
from envelope_fields.lifecycle import create_master_key
from envelope_fields.models import AuditEvent, KeyGrant
from envelope_fields.policy import APPLICATION, Action
from tests.admin import officer
from tests.api import key_url, problem, wrong_fields

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(databases="__all__")]


@pytest.fixture
def grants(key):
    return key_url(key, "grants")


@pytest.fixture
def bob(db):
    return officer("bob", permissions=[])


def test_granting(api, key, grants, bob):
    response = api.post(
        grants, {"user": "bob", "actions": ["decrypt"], "context": "tests.tenantnote"}
    )
    assert response.status_code == 201, response.content
    row = KeyGrant.objects.get(principal_id=str(bob.pk))
    assert response.json() == {
        "grant": row.pk, "key": "tenant", "key_id": str(key.pk), "principal_type": "auth.user",
        "principal_id": str(bob.pk), "name": "bob", "actions": ["decrypt"],
        "context": "tests.tenantnote", "expires_at": None, "void": "",
    }  # fmt: skip
    assert response["Location"] == f"http://testserver{key_url(key, 'grants', row.pk)}"
    assert api.get(response["Location"]).json() == response.json()
    event = AuditEvent.objects.latest("number")
    assert (event.action, event.actor_name) == ("create_grant", "olga")
    again = api.post(grants, {"user": "bob", "actions": ["decrypt"], "context": "tests.TenantNote"})
    assert again.json() == response.json()
    assert KeyGrant.objects.count() == 2


def test_to_a_group_until_a_time(api, grants):
    Group.objects.create(name="nurses")
    until = "2130-01-01T12:00:00+01:00"
    said = api.post(
        grants, {"group": "nurses", "actions": ["decrypt", "encrypt"], "expires_at": until}
    ).json()
    assert (said["principal_type"], said["name"]) == ("auth.group", "nurses")
    assert said["actions"] == ["encrypt", "decrypt"]
    assert said["expires_at"] == "2130-01-01T11:00:00Z"
    assert said["void"] == "inactive"  # nobody is in it


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"user": "nobody"}, "user"),
        ({"user": "BOB"}, "user"),
        ({"user": "bob\0"}, "user"),
        ({"user": None}, "user"),
        ({"user": 5}, "user"),
        ({"user": ["bob"]}, "user"),
        ({"group": "nurses"}, "user"),
        ({"actions": ["fly"]}, "actions.0"),
        ({"actions": ["\ud800"]}, "actions.0"),
        ({"actions": [["decrypt"]]}, "actions.0"),
        ({"actions": []}, "actions"),
        ({"actions": "decrypt"}, "actions"),
        ({"actions": {"decrypt": 1}}, "actions"),
        ({"actions": ["decrypt"] * (len(Action) + 1)}, "actions"),
        ({"actions": ["rotate"], "context": "tests.tenantnote"}, "context"),
        ({"context": "no.model"}, "context"),
        ({"context": "\0"}, "context"),
        ({"context": "x" * 301}, "context"),
        ({"context": "auth.user"}, "context"),
        ({"expires_at": "2001-01-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": "2130-01-01T00:00:00"}, "expires_at"),
        ({"expires_at": "2130-01-01"}, "expires_at"),
        ({"expires_at": "2130-13-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": "9999-12-31T23:59:59-23:00"}, "expires_at"),
        ({"expires_at": "0001-01-01T00:00:00+23:00"}, "expires_at"),
        ({"expires_at": 2130}, "expires_at"),
        ({"principal_id": "1"}, "principal_id"),
    ],
)
def test_bad_input_grants_nothing(api, grants, bob, changes, wrong):
    import json

    content = json.dumps({"user": "bob", "actions": ["decrypt"], **changes})
    assert wrong_fields(api.post(grants, content, content_type="application/json")) == {wrong}
    assert KeyGrant.objects.count() == 1


class TestRevoking:
    def test_revoking(self, api, key, bob):
        row = grant(key, bob, ["decrypt"], actor=APPLICATION)
        response = api.delete(key_url(key, "grants", row.pk))
        assert (response.status_code, response.content) == (204, b"")
        assert not KeyGrant.objects.filter(pk=row.pk).exists()
        assert AuditEvent.objects.latest("number").action == "revoke_grant"
        again = problem(api.delete(key_url(key, "grants", row.pk)), 404)
        assert "it is revoked, or was never made" in again["detail"]

    def test_the_last_one_takes_a_name(self, api, key):
        row = KeyGrant.objects.get()
        address = key_url(key, "grants", row.pk)
        said = problem(api.delete(address), 409, "last_grant")
        assert said["errors"][0]["field"] == "override"
        problem(api.delete(f"{address}?override=other"), 409, "last_grant")
        assert KeyGrant.objects.filter(pk=row.pk).exists()
        assert api.delete(f"{address}?override=tenant").status_code == 204

    def test_of_another_key(self, api, olga, key, bob):
        row = grant(create_master_key("other", actor=olga), bob, ["decrypt"], actor=APPLICATION)
        problem(api.delete(key_url(key, "grants", row.pk)), 404)
        problem(api.get(key_url(key, "grants", row.pk)), 404)

    @pytest.mark.parametrize("number", [0, 2**63 - 1, 2**63, 10**30, "9" * 5000, "x"])
    def test_one_that_is_not_there(self, api, key, number):
        problem(api.get(key_url(key, "grants", number)), 404)
        problem(api.delete(key_url(key, "grants", number)), 404)

    def test_a_query_that_is_not_known(self, api, key):
        address = key_url(key, "grants", KeyGrant.objects.get().pk)
        assert wrong_fields(api.delete(f"{address}?force=1")) == {"force"}


def test_without_the_right(client_of, key, grants):
    row = KeyGrant.objects.create(
        master_key=key, principal_type="auth.user", principal_id="0", actions=["decrypt"]
    )
    user = officer("rita", key=key, actions=[Action.DESCRIBE])
    client = client_of(user)
    problem(client.post(grants, {"user": "rita", "actions": ["rotate"]}), 403)
    assert AuditEvent.objects.latest("number").action == "manage_grants"
    problem(client.delete(key_url(key, "grants", row.pk)), 403)
    user.user_permissions.clear()
    problem(client_of(type(user).objects.get(pk=user.pk)).get(grants), 403)


def test_listing_takes_few_queries(api, key, grants):
    counts = []
    for number in (1, 5):
        for index in range(number):
            group = Group.objects.create(name=f"group {number}/{index}")
            officer(f"user {number}/{index}", permissions=[]).groups.add(group)
            grant(key, group, ["decrypt"], actor=APPLICATION)
            someone = officer(f"one {number}/{index}", permissions=[])
            grant(key, someone, ["decrypt"], actor=APPLICATION)
        with CaptureQueriesContext(connection) as queries:
            found = api.get(grants).json()
        counts.append(len(queries))
    assert found["count"] == 13
    assert {each["void"] for each in found["results"]} == {""}
    assert counts[0] == counts[1] <= 15
