"""Every error is a problem (RFC 9457), whatever it was, wherever it was, and never a 500."""

import json

import pytest
from django.test import Client

from envelope_fields.models import AuditEvent, MasterKey
from tests.api import ROOT, key_url, problem, url, wrong_fields

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(databases="__all__")]

JSON = "application/json"


def test_the_shape(api):
    said = problem(api.post(url("keys"), {"alias": "", "rotation_period": 1}), 400)
    assert said == {
        "type": "about:blank",
        "title": "Bad Request",
        "status": 400,
        "detail": (
            "rotation_period: Ensure this value is greater than or equal to 90. "
            "alias: This field may not be blank."
        ),
        "code": "invalid",
        "errors": [
            {
                "field": "rotation_period",
                "detail": "Ensure this value is greater than or equal to 90.",
                "code": "min_value",
            },
            {"field": "alias", "detail": "This field may not be blank.", "code": "blank"},
        ],
    }


def test_what_is_of_no_field_has_no_name(api, settings):
    settings.REST_FRAMEWORK = {"NON_FIELD_ERRORS_KEY": "mistakes"}
    said = problem(api.post(url("keys"), []), 400, "invalid")
    assert [each["field"] for each in said["errors"]] == [""]
    assert not said["detail"].startswith("mistakes")


class TestAddresses:
    @pytest.mark.parametrize(
        "address",
        ["nothing/", "nothing", "keys/a/b/", "keys/a/b/c/d/", "data/", "data/x/", "keys//", "//",
         "keys/%00/", "keys/%FF/", "keys/alias:%00/", "keys/alias:/",
         "keys/alias:" + "x" * 3000 + "/", "keys/" + "x" * 3000 + "/", "keys/%2e%2e/",
         "keys/0b8cf4b24f6e4d5c8f505d8d3a6ab0f1/", "keys/{0b8cf4b2-4f6e-4d5c-8f50-5d8d3a6ab0f1}/",
         "keys/alias:none/nothing/", "events/1/", "rotations/x/y/", "rotations/x/y", "schema/x"],
    )  # fmt: skip
    def test_that_are_none(self, api, address):
        problem(api.get(ROOT + address), 404, "not_found")

    @pytest.mark.parametrize("method", ["post", "put", "delete"])
    def test_that_are_none_with_other_methods(self, api, method):
        problem(getattr(api, method)(ROOT + "nothing"), 404)

    def test_without_the_slash(self, api, settings):
        response = api.get(f"{ROOT}keys?state=enabled")
        assert response.status_code == 301
        assert response["Location"] == f"{ROOT}keys/?state=enabled"
        problem(api.post(f"{ROOT}keys", {"alias": "x"}), 404)
        settings.APPEND_SLASH = False
        problem(api.get(f"{ROOT}keys"), 404)

    def test_never_lead_elsewhere(self, api):
        response = api.get(f"{ROOT}/example.com/keys")
        problem(response, 404)


class TestMethods:
    @pytest.mark.parametrize("method", ["put", "patch", "delete", "trace"])
    def test_that_are_not_allowed(self, api, method):
        response = getattr(api, method)(url("keys"))
        problem(response, 405, "method_not_allowed")
        assert response["Allow"] == "GET, POST, HEAD, OPTIONS"

    def test_one_that_is_none(self, api):
        problem(api.generic("FLY", url("keys")), 405)

    def test_head(self, api, key):
        response = api.head(key_url(key))
        assert (response.status_code, response.content) == (200, b"")
        assert response["ETag"] == api.get(key_url(key))["ETag"]

    def test_acts_are_not_done_by_looking(self, api, key):
        problem(api.get(key_url(key, "rotate")), 405)
        assert key.versions.count() == 1

    @pytest.mark.parametrize("parts", [("keys",), ("data", "encrypt"), ("events",)])
    def test_options(self, api, parts):
        response = api.options(url(*parts))
        assert response.status_code == 200, response.content
        assert JSON in response.json()["renders"]

    @pytest.mark.parametrize("parts", [(), ("rotate",), ("shred",), ("grants",), ("versions", 1)])
    def test_options_of_a_key(self, api, key, parts):
        assert api.options(key_url(key, *parts)).status_code == 200


class TestBodies:
    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (b"{", "not JSON"),
            (b"{'alias': 'a'}", "not JSON"),
            (b'{"alias": NaN}', "not JSON"),
            (b'{"alias": Infinity}', "not JSON"),
            (b'{"rotation_period": ' + b"9" * 5000 + b"}", "not JSON"),
            (b'{"alias": "\xff"}', "not UTF-8"),
            ('{"alias": "a"}'.encode("utf-16"), "not UTF-8"),
            (b"\0", "not JSON"),
            (b"[" * 200_000, "nested too deeply"),
            (b'{"a":' * 200_000, "nested too deeply"),
        ],
    )
    def test_that_are_no_json(self, api, content, words):
        said = problem(api.post(url("keys"), content, content_type=JSON), 400, "parse_error")
        assert words in said["detail"]

    @pytest.mark.parametrize(
        "content", ['{"alias": "a", "alias": "b"}', '{"x": {"alias": 1, "\\u0061lias": 1}}']
    )
    def test_that_have_a_name_twice(self, api, content):
        response = api.post(url("keys"), content, content_type=JSON)
        assert wrong_fields(response) == {"alias"}
        assert not MasterKey.objects.filter(alias__in=["a", "b"]).exists()

    def test_that_are_wrong_a_thousand_times(self, api, key):
        """The answer is no longer than anybody reads."""
        content = {"user": "x", "actions": ["x" * 500] * 1000}
        response = api.post(key_url(key, "grants"), content)
        assert len(problem(response, 400)["errors"]) == 50
        assert len(response.content) < 40_000

    @pytest.mark.parametrize("charset", ["utf-16", "rot13", "base64", "zip", "none", "é", ""])
    def test_the_charset_is_not_asked(self, api, charset):
        kind = f"{JSON}; charset={charset}"
        response = api.post(url("keys"), b'{"alias": "a"}', content_type=kind)
        assert response.status_code in (201, 415)

    def test_that_are_too_large(self, api):
        content = json.dumps({"alias": "x" * 1_100_000})
        problem(api.post(url("keys"), content, content_type=JSON), 413, "too_large")

    def test_that_are_larger_than_django_takes(self, api):
        content = json.dumps({"alias": "x" * 2_700_000})
        problem(api.post(url("keys"), content, content_type=JSON), 413, "too_large")

    @pytest.mark.parametrize(
        "kind",
        ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
         "application/xml", "x", "application/*", "*/*;"],
    )  # fmt: skip
    def test_of_another_kind(self, api, kind):
        response = api.post(url("keys"), b"alias=a", content_type=kind)
        assert response.status_code in (400, 415)
        problem(response, response.status_code)

    def test_acts_may_have_none(self, api, key):
        assert api.post(key_url(key, "rotate")).status_code == 200
        assert api.post(key_url(key, "rotate"), b"{}", content_type=JSON).status_code == 200
        problem(api.post(key_url(key, "rotate"), b"[]", content_type=JSON), 400)
        problem(api.post(key_url(key, "rotate"), b"null", content_type=JSON), 400)
        assert key.versions.count() == 3


class TestAccept:
    @pytest.mark.parametrize("kind", ["application/xml", "image/*", "text/plain", "x"])
    def test_what_is_not_made(self, api, key, kind):
        problem(api.get(key_url(key), headers={"Accept": kind}), 406, "not_acceptable")

    @pytest.mark.parametrize("kind", ["*/*", JSON, "application/*", f"{JSON}; indent=4"])
    def test_what_is(self, api, key, kind):
        assert api.get(key_url(key), headers={"Accept": kind}).json()["alias"] == "tenant"

    def test_a_format_that_is_none(self, api, key):
        problem(api.get(f"{key_url(key)}?format=xml"), 404)
        assert api.get(f"{key_url(key)}?format=json").status_code == 200

    def test_an_act_whose_answer_nobody_could_read_is_not_done(self, api, key):
        problem(api.post(key_url(key, "rotate"), headers={"Accept": "text/plain"}), 406)
        assert key.versions.count() == 1


def test_what_is_denied_is_one(client_of, rita, key):
    said = problem(client_of(rita).post(key_url(key, "rotate")), 403, "permission_denied")
    assert "rotate_masterkey" in said["detail"]


def test_events_know_requests_without_an_id(api, key):
    response = api.post(key_url(key, "rotate"), headers={"X-Request-ID": "not an id\t"})
    event = AuditEvent.objects.latest("number")
    assert event.request_id == response["X-Request-ID"] != "not an id\t"


def test_pages_of_the_project_stay_as_they_are(db):
    assert Client().get("/nothing/")["Content-Type"].startswith("text/html")
