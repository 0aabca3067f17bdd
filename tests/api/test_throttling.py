"""Throttles with scopes of their own."""

import pytest
from django.core.cache import cache
from rest_framework.settings import api_settings

from tests.api import key_url, problem, url

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(databases="__all__")]


@pytest.fixture(autouse=True)
def fresh():
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def rates(monkeypatch):
    def rates(**scopes):
        named = {f"envelope_fields.{scope}": rate for scope, rate in scopes.items()}
        monkeypatch.setattr(api_settings, "DEFAULT_THROTTLE_RATES", named)

    return rates


def test_none_without_a_rate(api, key):
    assert {api.get(key_url(key)).status_code for _ in range(30)} == {200}


def test_scopes_are_counted_apart(api, key, rates):
    rates(read="2/min", change="1/min", census="1/min", data="1/min")
    encrypt = {"key": "alias:tenant", "plaintext": ""}
    for call in (
        lambda: api.get(key_url(key, "census")),
        lambda: api.post(key_url(key, "rotate")),
        lambda: api.post(url("data", "encrypt"), encrypt),
        lambda: (api.get(key_url(key)), api.get(url("keys")))[0],
    ):
        assert call().status_code == 200
        response = call()
        problem(response, 429, "throttled")
        assert 0 < int(response["Retry-After"]) <= 60
    assert key.versions.count() == 2


def test_users_are_counted_apart(api, client_of, rita, key, rates):
    rates(read="1/min")
    assert api.get(key_url(key)).status_code == 200
    assert client_of(rita).get(key_url(key)).status_code == 200
    problem(api.get(key_url(key)), 429)


def test_with_the_throttle_of_the_framework(api, key, monkeypatch):
    """Which wants a rate for each scope that it meets; it does not meet ours."""
    from rest_framework.throttling import ScopedRateThrottle

    from envelope_fields.api.keys import Key

    monkeypatch.setattr(Key, "throttle_classes", [ScopedRateThrottle])
    assert api.get(key_url(key)).status_code == 200
