"""The census of a key over HTTP."""

import pytest

from envelope_fields import kms
from envelope_fields.lifecycle import rotate_master_key
from tests.api import key_url, problem
from tests.models import TenantNote

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(databases="__all__")]


def test_what_is_counted(api, key):
    TenantNote.objects.create(tenant="tenant", text="a", data={})
    rotate_master_key(key)
    TenantNote.objects.create(tenant="tenant", text="b")
    TenantNote.objects.create(tenant="default", text="of another")
    said = api.get(key_url(key, "census")).json()
    rows = [(row["model"], row["field"], row["number"], row["values"]) for row in said["rows"]]
    assert rows == [
        ("tests.TenantNote", "data", 1, 1),
        ("tests.TenantNote", "text", 1, 1),
        ("tests.TenantNote", "text", 2, 1),
    ]
    assert said["rows"][0]["key"] == "tenant"
    assert [(row["number"], row["current"], row["values"]) for row in said["totals"]] == [
        (1, False, 2), (2, True, 1),
    ]  # fmt: skip
    assert said["total"] == 3
    assert said["last_use_by_kms"] is None
    assert len(said["last_use"]) == len("2030-03-01T09:30:00Z")


def test_nothing(api, key):
    said = api.get(key_url(key, "census")).json()
    assert (said["rows"], said["total"], said["last_use"]) == ([], 0, None)
    assert [row["values"] for row in said["totals"]] == [0]


def test_what_was_not_counted_is_named(api, key, monkeypatch):
    from envelope_fields import census

    assert api.get(key_url(key, "census")).json()["not_counted"] == []
    place = census.NotCounted("other", "clinic_patient.notes", "a view")
    monkeypatch.setattr(census, "not_counted", lambda: [place])
    assert api.get(key_url(key, "census")).json()["not_counted"] == [
        {"database": "other", "location": "clinic_patient.notes", "reason": "a view"}
    ]


def test_what_kms_gave_out_is_dated(api, key):
    kms.encrypt("tenant", b"a", {})
    assert api.get(key_url(key, "census")).json()["last_use_by_kms"] is not None


def test_a_column_that_cannot_be_counted(api, key, monkeypatch):
    from envelope_fields import census

    def fail(*args, **options):
        raise census.CensusFailed("A column could not be counted.")

    monkeypatch.setattr(census, "census", fail)
    response = api.get(key_url(key, "census"))
    problem(response, 503, "census_failed")
    assert int(response["Retry-After"]) > 0
