"""The audit trail over HTTP."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils.timezone import activate, deactivate, make_aware

from envelope_fields import audit
from envelope_fields.lifecycle import create_master_key, disable
from envelope_fields.models import AuditEvent, KeyGrant
from tests.admin import officer
from tests.api import key_url, problem, url, wrong_fields

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(databases="__all__")]

LIST = url("events")


def numbers(response):
    assert response.status_code == 200, response.content
    return [event["number"] for event in response.json()["results"]]


def test_what_is_told(api, key):
    api.post(key_url(key, "rotate"), headers={"X-Request-ID": "deploy-7"})
    event = api.get(LIST).json()["results"][0]
    assert event["action"] == "rotate"
    assert event["before"] == {"current_version": 1}
    assert event["after"] == {"current_version": 2}
    assert (event["request_id"], event["address"]) == ("deploy-7", "127.0.0.1")
    assert event["occurred_at"].endswith("Z")
    assert event["head"] == str(audit.head())


@pytest.fixture
def zone_of_a_user():
    """One that is activated for what is shown, which is not that of naive times."""
    activate("America/Lima")
    yield
    deactivate()


def test_in_a_project_without_time_zones(api, key, settings, zone_of_a_user):
    settings.USE_TZ, settings.TIME_ZONE = False, "Asia/Kathmandu"
    api.post(key_url(key, "rotate"))
    event = AuditEvent.objects.latest("number")
    assert event.occurred_at.tzinfo is None
    shown = api.get(LIST).json()["results"][0]["occurred_at"]
    assert datetime.fromisoformat(shown) == make_aware(
        event.occurred_at, ZoneInfo("Asia/Kathmandu")
    )
    assert shown.endswith("Z")
    assert numbers(api.get(LIST, {"action": "rotate", "since": shown})) == [event.number]
    assert numbers(api.get(LIST, {"action": "rotate", "until": shown})) == []
    until = {"user": "olga", "actions": ["decrypt"], "expires_at": "2999-12-31T18:00:00+01:00"}
    made = api.post(key_url(key, "grants"), until).json()
    assert made["expires_at"] == "2999-12-31T17:00:00Z"
    made = KeyGrant.objects.exclude(expires_at=None).get()
    assert made.expires_at == datetime(2999, 12, 31, 22, 45)


def test_filters(api, olga, key):
    api.post(key_url(key, "rotate"), headers={"X-Request-ID": "deploy-7"})
    api.post(key_url(key, "disable"))
    last = AuditEvent.objects.latest("number").number
    before = AuditEvent.objects.get(number=last).occurred_at.isoformat()
    for query, found in {
        "action=rotate": [last - 1],
        "request_id=deploy-7": [last - 1],
        "actor=olga&action=disable": [last],
        f"actor={olga.pk}&action=disable": [last],
        "actor=nobody": [],
        "outcome=denied": [],
        f"key={key.pk}&action=rotate": [last - 1],
        "key=alias:tenant&action=rotate": [last - 1],
        "key=alias:default&action=rotate": [],
        "key=alias:none": [],
        "since=2130-01-01T00:00:00Z": [],
        "until=2001-01-01T00:00:00Z": [],
        "since=0001-01-01T00:00:00Z&action=disable": [last],
        "until=9999-12-31T23:59:59Z&action=disable": [last],
    }.items():
        assert numbers(api.get(f"{LIST}?{query}")) == found, query
    assert numbers(api.get(LIST, {"since": before, "action": "disable"})) == [last]
    assert numbers(api.get(LIST, {"until": before, "action": "disable"})) == []


def test_of_an_alias_that_was_moved_away(api, key):
    api.patch(key_url(key), {"alias": "other"})
    found = api.get(LIST, {"key": "alias:tenant"}).json()["results"]
    assert {event["key_alias"] for event in found} == {"tenant"}


class TestPages:
    @pytest.fixture(autouse=True)
    def events(self, api, key):
        for _ in range(5):
            api.post(key_url(key, "rotate"))

    def test_newest_first(self, api):
        everything = numbers(api.get(LIST))
        assert everything == sorted(everything, reverse=True)
        found, address = [], f"{LIST}?page_size=2"
        while address:
            page = api.get(address)
            found += numbers(page)
            address = page.json()["next"]
        assert found == everything

    def test_from_an_event_on(self, api):
        """As a collector of logs reads them: it comes back with the last that it has."""
        everything = sorted(numbers(api.get(LIST)))
        found, last = [], 0
        while page := numbers(api.get(LIST, {"after": last, "page_size": 2})):
            found += page
            last = page[-1]
        assert found == everything
        assert (
            api.get(LIST, {"after": 0, "page_size": 2})
            .json()["next"]
            .endswith(f"after={everything[1]}&page_size=2")
        )

    def test_between(self, api):
        everything = sorted(numbers(api.get(LIST)))
        query = {"after": everything[0], "before": everything[3]}
        assert numbers(api.get(LIST, query)) == everything[1:3]


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ("before=x", "before"),
        ("before=-1", "before"),
        ("after=" + "9" * 19, "after"),
        ("page_size=0", "page_size"),
        ("page=1", "page"),
        ("cursor=cD0x", "cursor"),
        ("key=tenant", "key"),
        ("key=alias:", "key"),
        ("key=%00", "key"),
        ("action=" + "x" * 65, "action"),
        ("actor=%00", "actor"),
        ("outcome=maybe", "outcome"),
        ("since=yesterday", "since"),
        ("since=2030-01-01T00:00:00", "since"),
        ("until=9999-12-31T23:59:59-01:00", "until"),
    ],
)
def test_a_bad_query(api, query, wrong):
    assert wrong_fields(api.get(f"{LIST}?{query}")) == {wrong}


def test_only_of_keys_whose_trail_one_may_see(api, key):
    other = create_master_key("somebody-else-s")
    disable(other)
    found = api.get(LIST).json()["results"]
    assert {event["key_alias"] for event in found} == {"tenant"}


def test_without_the_permission(client_of, key):
    client = client_of(officer("rita", permissions=["view_masterkey"], key=key))
    problem(client.get(LIST), 403)


def test_nothing_is_written_there(api):
    for method in ("post", "put", "patch", "delete"):
        response = getattr(api, method)(LIST)
        problem(response, 405)
        assert response["Allow"] == "GET, HEAD, OPTIONS"


def test_few_queries(api, key):
    counts = []
    for _ in range(2):
        for _ in range(5):
            api.post(key_url(key, "rotate"))
        with CaptureQueriesContext(connection) as queries:
            api.get(LIST)
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 10
