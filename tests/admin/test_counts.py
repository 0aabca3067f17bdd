"""The numbers of the pages: new while that is quick, and honest where they are not."""

import time

import pytest
from django.core.cache import cache
from django.urls import reverse

from envelope_fields.admin import counts
from envelope_fields.census import CensusFailed
from envelope_fields.lifecycle import create_master_key
from tests.admin import page_of
from tests.models import TenantNote

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(databases="__all__")]

LIST = reverse("admin:envelope_fields_masterkey_changelist")


@pytest.fixture
def key():
    key = create_master_key("tenant")
    TenantNote.objects.create(tenant="tenant", text="a", data={})
    return key


@pytest.fixture
def slow(monkeypatch):
    """Make counting seem to take so many seconds."""

    def slow(seconds):
        clock = iter(range(0, 10**6, seconds))
        monkeypatch.setattr(counts.time, "perf_counter", lambda: next(clock))

    return slow


def act_on(key, act="rotate"):
    return reverse("admin:envelope_fields_masterkey_operation", args=[key.pk, act])


def values(client):
    page = client.get(LIST).text
    row = page[page.index(">tenant</a>") :]
    return row.split('class="field-values">')[1].split("<")[0]


def test_a_quick_count_is_never_kept(client, key):
    assert values(client) == "2"
    TenantNote.objects.create(tenant="tenant", text="b")
    assert values(client) == "3"
    assert "Counted at" not in client.get(page_of(key)).text


def test_a_slow_one_is_kept_for_a_while_and_says_so(client, key, slow, monkeypatch):
    slow(3)
    assert values(client) == "2"
    TenantNote.objects.create(tenant="tenant", text="b")
    assert values(client) == "2"
    assert "Values were counted at" in client.get(LIST).text
    page = client.get(page_of(key)).text
    assert "2 stored values are under this key" in page
    assert "Counted at" in page
    assert ".." not in page
    later = counts.timezone.now() + counts.timedelta(seconds=3 * counts.KEPT_FOR + 1)
    monkeypatch.setattr(counts.timezone, "now", lambda: later)
    assert values(client) == "3"


def test_what_takes_something_away_is_counted_anew(client, key, slow):
    slow(3)
    client.get(LIST)
    TenantNote.objects.create(tenant="tenant", text="b")
    assert "2 stored values stay" in client.get(act_on(key)).text
    for act in ("schedule_deletion", "shred"):
        assert "3 stored values" in client.get(act_on(key, act)).text


def test_a_count_that_somebody_is_busy_with_is_no_zero(client, key):
    """A page waits for none that has not ended long since it began."""
    cache.set("envelope_fields.count.began", time.time() - 60)
    assert values(client) == "-"
    assert "being counted just now" in client.get(LIST).text
    page = client.get(page_of(key)).text
    assert "being counted just now" in page
    assert "values are under this key" not in page
    assert "The stored values (they could not be counted)" in client.get(act_on(key)).text


def fail():
    raise CensusFailed("tests.Note.text could not be counted")


def test_a_count_that_fails_is_no_zero(client, key, monkeypatch):
    monkeypatch.setattr(counts, "census", fail)
    assert values(client) == "-"
    for address in (LIST, page_of(key)):
        page = client.get(address).text
        assert "The stored values could not be counted: tests.Note.text could" in page
        assert "values are under this key" not in page


def test_the_next_one_that_works_is_shown(client, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(counts, "census", fail)
        assert values(client) == "-"
    assert values(client) == "2"
