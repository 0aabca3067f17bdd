"""The browsable API: people look at what programs do."""

import html
import json
import re

import pytest

from envelope_fields import rotation
from tests.admin import officer
from tests.api import key_url, url

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(databases="__all__")]

HTML = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


def test_pages(api, key):
    run = rotation.start(key)
    for address in [
        url(), url("keys"), url("events"), key_url(key), key_url(key, "versions"),
        key_url(key, "grants"), key_url(key, "census"), key_url(key, "shred"),
        key_url(key, "versions", 1), f"{url('keys')}?page_size=1", url("rotations"),
        url("rotations", run.pk), url("rotations", run.pk, "failures"),
    ]:  # fmt: skip
        response = api.get(address, headers=HTML)
        assert response.status_code == 200, address
        assert response["Content-Type"].startswith("text/html")
        assert any(word in response.text for word in ("Envelope", "tenant", "keys", "results"))


def offered(page):
    """Return what a page has people fill in."""
    found = re.search(r'<textarea name="_content"[^>]*>(.*?)</textarea>', page.text, re.DOTALL)
    return json.loads(html.unescape(found[1]))


def test_what_is_offered_can_be_sent(api, key, worker):
    content = offered(api.get(url("rotations"), headers=HTML))
    assert (content["key"], content["kind"], content["versions"]) == ("", "rewrap", [])
    assert api.post(url("rotations"), {**content, "key": "alias:tenant"}).status_code == 202
    content = offered(api.get(url("keys"), headers=HTML))
    made = api.post(url("keys"), {**content, "alias": "new"})
    assert (made.status_code, made.json()["application_use"]) == (201, True)
    assert offered(api.get(key_url(key, "rotate"), headers=HTML)) == {}


def test_pages_of_rotations(api, key, worker):
    made = api.post(url("rotations"), {"key": "alias:tenant"}, headers=HTML)
    assert made.status_code == 202
    assert "tenant" in made.text
    for act in ("pause", "resume", "cancel"):
        assert api.get(f"{made['Location']}{act}/", headers=HTML).status_code == 405
        done = api.post(f"{made['Location']}{act}/", {}, headers=HTML)
        assert done.status_code < 300
        assert "tenant" in done.text


@pytest.mark.parametrize("name", ["generate-data-key", "encrypt", "decrypt", "re-encrypt"])
def test_pages_of_what_is_only_posted(api, name):
    response = api.get(url("data", name), headers=HTML)
    assert response.status_code == 405
    assert "text/html" in response["Content-Type"]


@pytest.mark.parametrize("act", ["rotate", "enable", "schedule-deletion"])
def test_pages_of_acts(api, key, act):
    assert api.get(key_url(key, act), headers=HTML).status_code == 405
    done = api.post(key_url(key, act), {}, headers=HTML)
    assert done.status_code == 200
    assert "tenant" in done.text


def test_errors_are_pages_there(api, key):
    for address in [url("nothing"), key_url(key, "versions", 9), f"{url('keys')}?page=x"]:
        response = api.get(address, headers=HTML)
        assert response.status_code in (400, 404)
        assert "text/html" in response["Content-Type"]


def test_nobody_and_a_wrong_password(client, key):
    assert client.get(url("keys"), headers=HTML).status_code == 403
    wrong = {**HTML, "Authorization": "Basic x"}
    assert client.get(url("keys"), headers=wrong).status_code == 403
    assert client.get(url("nothing"), headers=wrong).status_code == 403


def test_forms_are_for_who_may(client_of, key):
    page = client_of(officer("rita", permissions=["view_masterkey"], key=key)).get(
        key_url(key), headers=HTML
    )
    assert page.status_code == 200


def test_only_where_the_project_has_it(api, key, monkeypatch):
    from rest_framework.renderers import JSONRenderer
    from rest_framework.settings import api_settings

    monkeypatch.setattr(api_settings, "DEFAULT_RENDERER_CLASSES", [JSONRenderer])
    assert api.get(key_url(key), headers=HTML)["Content-Type"] == "application/json"
