"""Conversions of columns in the admin: how far each field is, seen without a shell."""

import pytest
from django.urls import reverse

from envelope_fields.census import columns
from envelope_fields.conversion import moves
from envelope_fields.conversion.column_phases import moving_field
from envelope_fields.grants import grant
from envelope_fields.lifecycle import create_master_key
from envelope_fields.models import ColumnConversion, MasterKey
from envelope_fields.policy import APPLICATION, Action
from tests.admin import officer
from tests.fields.legacy import written
from tests.models import Letter, Note
from tests.models.keyed import only
from tests.models.moving import OldVisit, Visit
from tests.models.tables import tables_of
from tests.stored import store

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(databases="__all__")]

tables = tables_of([Visit])
LABEL, LEGACY = "moving.Visit.report", "tests.Letter.text"
LIST = reverse("admin:envelope_fields_columnconversion_changelist")


@pytest.fixture(autouse=True)
def rows(monkeypatch):
    monkeypatch.setattr(columns, "apps", only(Visit, Letter, Note))
    OldVisit.objects.bulk_create(OldVisit(report=f"secret {number}") for number in range(3))
    store(Letter.objects.create(), "text", written.fernet("secret"))


def page_url(label=LABEL):
    return reverse("admin:envelope_fields_columnconversion_field", args=[label])


def field():
    return moving_field(LABEL)


def numbers(page):
    return dict(page.context["row"].numbers)


class TestSeeing:
    def test_both_kinds_are_listed(self, client):
        page = client.get(LIST)
        found = {row.label: (row.kind, row.phase, row.since) for row in page.context["rows"]}
        assert found[LABEL] == ("from a column beside it", "clear", None)
        assert found[LEGACY] == ("in the same column", "open", None)
        assert "tests.Note.text" not in found
        assert page_url() in page.text
        assert "secret" not in page.text

    def test_one_from_clear(self, client):
        page = client.get(page_url())
        assert numbers(page) == {
            "values in clear": "3", "envelopes": "0", "rows with one alone": "3",
        }  # fmt: skip
        assert "No run has gone over its rows yet." in page.text

    def test_one_of_another_package(self, client):
        found = numbers(client.get(page_url(LEGACY)))
        assert sorted(found.values()) == ["0", "1"]
        assert any("fernet" in text for text in found)

    def test_its_phase_and_its_run(self, client):
        ColumnConversion.objects.create(
            model="moving.Visit", field="report", kind="column", phase="filling"
        )
        begun = moves.start("fill", field())
        page = client.get(page_url())
        assert page.context["row"].phase == "being filled"
        assert page.context["row"].since is not None
        assert page.context["run"]["state"] == "pending"
        assert str(begun.pk) in page.text

    def test_a_table_that_is_not_there(self, client, monkeypatch):
        monkeypatch.setattr(Visit._meta.get_field("report_clear"), "column", "missing")
        assert "could not be counted" in client.get(LIST).text
        assert "could not be counted" in client.get(page_url()).text

    def test_a_slow_count_is_kept_as_long_as_the_phase(self, client, monkeypatch):
        monkeypatch.setattr("envelope_fields.admin.counts.QUICK_SECONDS", 0)
        monkeypatch.setattr("envelope_fields.admin.counts.KEPT_FOR", 1_000_000)
        assert numbers(client.get(page_url()))["values in clear"] == "3"
        OldVisit.objects.all().delete()
        page = client.get(page_url())
        assert numbers(page)["values in clear"] == "3"
        assert "Counted at" in page.text
        ColumnConversion.objects.create(
            model="moving.Visit", field="report", kind="column", phase="both"
        )
        assert numbers(client.get(page_url()))["values in clear"] == "0"


class TestWhoMay:
    def test_without_the_permission(self, client):
        client.force_login(officer("ben", permissions=["view_masterkey"]))
        assert client.get(LIST).status_code == 403
        assert client.get(page_url()).status_code == 404

    def test_one_whose_key_may_not_be_seen(self, client):
        key = MasterKey.objects.filter(alias="default").first() or create_master_key("default")
        MasterKey.objects.filter(pk=key.pk).update(managed_by="customer")
        ben = officer("ben", permissions=["view_columnconversion"])
        client.force_login(ben)
        assert LABEL not in client.get(LIST).text
        assert client.get(page_url()).status_code == 404
        grant(key, ben, (Action.DESCRIBE,), actor=APPLICATION)
        assert LABEL in client.get(LIST).text
        assert client.get(page_url()).status_code == 200

    @pytest.mark.parametrize("label", ["tests.Note.text", "no.Such.field", "moving.Visit"])
    def test_what_is_not_converted(self, client, label):
        assert client.get(page_url(label)).status_code == 404
