"""Keys: listed, made, read and changed."""

import json
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from envelope_fields.lifecycle import create_master_key, disable
from envelope_fields.models import AuditEvent, MasterKey, MasterKeyVersion
from envelope_fields.policy import APPLICATION
from tests.api import key_url, problem, url, wrong_fields

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(databases="__all__")]

LIST = url("keys")


def names(response):
    assert response.status_code == 200, response.content
    return [key["alias"] for key in response.json()["results"]]


class TestReading:
    def test_what_is_told(self, api, key):
        response = api.get(key_url(key))
        said = response.json()
        assert said["id"] == str(key.pk)
        assert said["alias"] == "tenant"
        assert said["state"] == "enabled"
        assert said["current_version"] == 1
        due = key.current_version.created_at + timedelta(days=90)
        assert said["next_rotation"] == due.isoformat().replace("+00:00", "Z")
        assert "material" not in response.text

    def test_what_wraps_it(self, api, key):
        MasterKey.objects.filter(pk=key.pk).update(root_key="hsm")
        key.versions.update(wrapping_key_id="lab-wrapping/5")
        opened = key.versions.get().opened_at.isoformat().replace("+00:00", "Z")
        assert api.get(key_url(key)).json()["root_key"] == "hsm"
        said = api.get(key_url(key, "versions", 1)).json()
        wrapped_by = ("default", "lab-wrapping/5")
        assert (said["root_key"], said["wrapping_key_id"]) == wrapped_by
        assert (said["opened_at"], said["current"]) == (opened, True)

    def test_a_version_that_no_process_has_opened(self, api, key):
        key.versions.update(opened_at=None)
        said = api.get(key_url(key, "versions", 1)).json()
        assert (said["opened_at"], said["current"]) == (None, False)
        [listed] = api.get(key_url(key, "versions")).json()["results"]
        assert listed == said

    @pytest.mark.parametrize("alias", ["tenant", "a/b", "x/versions", "a.b:c@d-e_f"])
    def test_by_alias(self, api, olga, alias):
        if alias != "tenant":
            create_master_key(alias, actor=olga)
        if alias != "x/versions":  # which is an address of its own
            assert api.get(url("keys", f"alias:{alias}")).json()["alias"] == alias
        other = api.post(url("keys", f"alias:{alias}", "rotate"))
        assert (other.json()["alias"], other.json()["current_version"]) == (alias, 2)

    def test_in_other_case_it_is_another(self, api):
        problem(api.get(url("keys", "alias:TENANT")), 404)
        assert names(api.get(LIST, {"alias": "TENANT"})) == []

    def test_a_destroyed_one(self, api, olga):
        gone = create_master_key("gone", actor=olga)
        MasterKey.objects.filter(pk=gone.pk).update(
            alias=None, state="destroyed", destroyed_at=timezone.now()
        )
        said = api.get(key_url(gone)).json()
        assert (said["alias"], said["next_rotation"]) == (None, None)


class TestList:
    def test_only_what_the_user_may_describe(self, api):
        create_master_key("somebody-else-s")
        assert names(api.get(LIST)) == ["default", "tenant"]

    def test_filters_and_search(self, api, olga, key):
        other = create_master_key("other", description="100%", actor=olga)
        disable(other, actor=APPLICATION)
        MasterKeyVersion.objects.filter(master_key=key).update(
            created_at=timezone.now() - timedelta(days=91)
        )
        for query, found in {
            "state=disabled": ["other"],
            "alias=tenant": ["tenant"],
            "alias=none": [],
            "due=true": ["tenant"],
            "due=false": ["default", "other"],
            "search=Of+a+t": ["tenant"],
            "search=TENANT": ["tenant"],
            "search=0%25": ["other"],
            "search=_": [],
            "state=disabled&search=oth": ["other"],
            "state=disabled&due=true": [],
        }.items():
            assert names(api.get(f"{LIST}?{query}")) == found, query

    def test_pages(self, api, olga):
        for number in range(4):
            create_master_key(f"k{number}", actor=olga)
        first = api.get(LIST, {"page_size": 4}).json()
        assert (first["count"], first["previous"], len(first["results"])) == (6, None, 4)
        second = api.get(first["next"]).json()
        assert (len(second["results"]), second["next"]) == (2, None)
        problem(api.get(LIST, {"page": 7}), 404)

    @pytest.mark.parametrize(
        ("query", "wrong"),
        [
            ("state=on", "state"),
            ("due=yes", "due"),
            ("page=0", "page"),
            ("page=x", "page"),
            ("page=last", "page"),
            ("page=-1", "page"),
            ("page=1.0", "page"),
            ("page=" + "9" * 5000, "page"),
            ("page_size=201", "page_size"),
            ("page_size=٣", "page_size"),
            ("alias=a&alias=b", "alias"),
            ("alias=%00", "alias"),
            ("search=%00", "search"),
            ("search=" + "x" * 201, "search"),
            ("colour=red", "colour"),
            ("%00=1", "\0"),
            ("%ff=1", "\ufffd"),
        ],
    )
    def test_a_bad_query(self, api, query, wrong):
        assert wrong_fields(api.get(f"{LIST}?{query}")) == {wrong}

    def test_few_queries(self, api, olga):
        counts = []
        for more in (1, 30):
            for number in range(more):
                create_master_key(f"k{more}/{number}", rotation_period=90, actor=olga)
            with CaptureQueriesContext(connection) as queries:
                assert len(names(api.get(LIST, {"due": "false"}))) == 2 + (1 if more == 1 else 31)
            counts.append(len(queries))
        assert counts[0] == counts[1] <= 10, counts


class TestCreating:
    def test_all(self, api, olga):
        response = api.post(LIST, {"alias": "new", "description": "x", "rotation_period": 365,
                                   "application_use": False})  # fmt: skip
        assert response.status_code == 201, response.content
        said = response.json()
        assert (said["rotation_period"], said["application_use"]) == (365, False)
        assert response["Location"] == f"http://testserver{url('keys', said['id'])}"
        assert api.get(response["Location"])["ETag"] == response["ETag"]
        event = AuditEvent.objects.get(action="create_key", key_id=said["id"])
        assert (event.actor_name, event.address) == ("olga", "127.0.0.1")
        assert event.request_id == response["X-Request-ID"]

    def test_the_least(self, api):
        assert api.post(LIST, {"alias": "new"}).json()["rotation_period"] is None

    def test_an_alias_that_is_taken(self, api):
        said = problem(api.post(LIST, {"alias": "tenant"}), 409, "alias_taken")
        assert said["errors"][0]["field"] == "alias"

    def test_an_alias_of_a_key_that_one_may_not_see(self, api):
        create_master_key("other")
        said = problem(api.post(LIST, {"alias": "other"}), 403, "permission_denied")
        assert said["detail"].startswith("You may not give a key the alias 'other'.")
        assert said["errors"][0]["field"] == "alias"

    @pytest.mark.parametrize(
        ("content", "wrong"),
        [
            ({}, "alias"),
            ({"alias": None}, "alias"),
            ({"alias": ""}, "alias"),
            ({"alias": " a"}, "alias"),
            ({"alias": "a\n"}, "alias"),
            ({"alias": "-a"}, "alias"),
            ({"alias": "é"}, "alias"),
            ({"alias": "a\0"}, "alias"),
            ({"alias": "a" * 201}, "alias"),
            ({"alias": 5}, "alias"),
            ({"alias": True}, "alias"),
            ({"alias": ["a"]}, "alias"),
            ({"alias": {"a": 1}}, "alias"),
            ({"alias": "a", "description": None}, "description"),
            ({"alias": "a", "description": "\0"}, "description"),
            ({"alias": "a", "description": "\ud800"}, "description"),
            ({"alias": "a", "description": "x" * 8193}, "description"),
            ({"alias": "a", "rotation_period": 89}, "rotation_period"),
            ({"alias": "a", "rotation_period": 2561}, "rotation_period"),
            ({"alias": "a", "rotation_period": 10**4000}, "rotation_period"),
            ({"alias": "a", "rotation_period": "90"}, "rotation_period"),
            ({"alias": "a", "rotation_period": 90.5}, "rotation_period"),
            ({"alias": "a", "rotation_period": True}, "rotation_period"),
            ({"alias": "a", "application_use": "true"}, "application_use"),
            ({"alias": "a", "application_use": 1}, "application_use"),
            ({"alias": "a", "application_use": None}, "application_use"),
            ({"alias": "a", "state": "disabled"}, "state"),
            ({"alias": "a", "wrapped_material": "x"}, "wrapped_material"),
            ({"alias": "a", "managed_by": "application"}, "managed_by"),
            ({"alias": "a", "\ud800": 1}, "?"),
            ([], ""),
            ("x", ""),
            (5, ""),
        ],
    )
    def test_bad_input_makes_nothing(self, api, content, wrong):
        before = MasterKey.objects.count(), AuditEvent.objects.count()
        # As text, since the test client would not send half of a character.
        sent = api.post(LIST, json.dumps(content), content_type="application/json")
        assert wrong_fields(sent) == {wrong}
        assert (MasterKey.objects.count(), AuditEvent.objects.count()) == before

    def test_query_parameters_are_not_for_it(self, api):
        assert wrong_fields(api.post(f"{LIST}?alias=x", {"alias": "a"})) == {"alias"}


class TestChanging:
    def test_some(self, api, key):
        response = api.patch(key_url(key), {"description": "Other", "rotation_period": None})
        assert response.status_code == 200, response.content
        assert response.json()["description"] == "Other"
        assert response.json()["rotation_period"] is None
        event = AuditEvent.objects.latest("number")
        assert (event.action, set(event.after)) == (
            "update_key", {"description", "rotation_period"},
        )  # fmt: skip
        assert api.get(key_url(key))["ETag"] == response["ETag"]

    def test_nothing(self, api, key):
        events = AuditEvent.objects.count()
        assert api.patch(key_url(key), {}).status_code == 200
        assert api.patch(key_url(key)).status_code == 200
        assert AuditEvent.objects.count() == events

    def test_the_use_by_the_application(self, api, key):
        assert api.patch(key_url(key), {"application_use": False}).status_code == 200
        key.refresh_from_db()
        assert not key.application_use

    def test_the_alias(self, api, key):
        assert api.patch(key_url(key), {"alias": "a/b"}).json()["alias"] == "a/b"
        assert api.get(url("keys", "alias:a/b")).status_code == 200

    def test_the_alias_of_another(self, api, olga, key):
        other = create_master_key("other", actor=olga)
        assert api.patch(key_url(key), {"alias": "other"}).status_code == 200
        other.refresh_from_db()
        assert other.alias is None

    def test_the_alias_of_another_that_one_may_not_rotate(self, api, key):
        create_master_key("other")
        said = problem(api.patch(key_url(key), {"alias": "other"}), 403, "permission_denied")
        assert said["detail"].startswith("You may not give a key the alias 'other'.")
        key.refresh_from_db()
        assert key.alias == "tenant"

    @pytest.mark.parametrize(
        ("content", "wrong"),
        [
            ({"alias": "b", "description": "x"}, "description"),
            ({"alias": "not an alias"}, "alias"),
            ({"state": "disabled"}, "state"),
            ({"rotation_period": 1}, "rotation_period"),
            ({"description": "x", "rotation_period": "x"}, "rotation_period"),
            ([1], ""),
        ],
    )
    def test_bad_input_changes_nothing(self, api, key, content, wrong):
        before = AuditEvent.objects.count()
        assert wrong_fields(api.patch(key_url(key), content)) == {wrong}
        key.refresh_from_db()
        assert (key.alias, key.description, key.state) == ("tenant", "Of a tenant", "enabled")
        assert AuditEvent.objects.count() == before

    def test_a_key_that_is_over(self, api, key):
        MasterKey.objects.filter(pk=key.pk).update(state="destroyed")
        said = problem(api.patch(key_url(key), {"description": "x"}), 409, "key_unusable")
        assert "destroyed" in said["detail"]


class TestTwoOperators:
    def test_the_second_is_told(self, api, key):
        seen = api.get(key_url(key))["ETag"]
        first = api.patch(key_url(key), {"description": "1"}, headers={"If-Match": seen})
        assert first.status_code == 200
        late = api.patch(key_url(key), {"description": "2"}, headers={"If-Match": seen})
        problem(late, 412, "precondition_failed")
        key.refresh_from_db()
        assert key.description == "1"
        again = {"If-Match": f'"x", {first["ETag"]}'}
        assert api.patch(key_url(key), {"description": "2"}, headers=again).status_code == 200

    @pytest.mark.parametrize("change", ["rotate", "disable", "schedule-deletion"])
    def test_acts(self, api, key, change):
        seen = {"If-Match": api.get(key_url(key))["ETag"]}
        api.patch(key_url(key), {"alias": "other"}, headers=seen)
        events = AuditEvent.objects.count()
        problem(api.post(key_url(key, change), headers=seen), 412)
        key.refresh_from_db()
        assert (key.state, key.versions.count()) == ("enabled", 1)
        assert AuditEvent.objects.count() == events

    def test_a_version(self, api, key):
        api.post(key_url(key, "rotate"))
        first = key_url(key, "versions", 1)
        seen = {"If-Match": api.get(first)["ETag"]}
        disable = key_url(key, "versions", 1, "disable")
        assert api.post(disable, headers=seen).status_code == 200
        problem(api.post(key_url(key, "versions", 1, "enable"), headers=seen), 412)

    @pytest.mark.parametrize("given", ["*", '"x"', 'W/"x"', "x", "", '"', "é", "\x7f"])
    def test_what_is_sent(self, api, key, given):
        response = api.patch(key_url(key), {"description": "1"}, headers={"If-Match": given})
        assert response.status_code == (200 if given == "*" else 412)

    def test_what_a_compression_made_of_it(self, api, key):
        seen = {"If-Match": "W/" + api.get(key_url(key))["ETag"]}
        assert api.patch(key_url(key), {"description": "1"}, headers=seen).status_code == 200
        problem(api.patch(key_url(key), {"description": "2"}, headers=seen), 412)

    def test_a_rotation_is_seen(self, api, key):
        before = api.get(key_url(key))["ETag"]
        api.post(key_url(key, "rotate"))
        assert api.get(key_url(key))["ETag"] != before
