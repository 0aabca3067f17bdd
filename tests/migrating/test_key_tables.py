"""Migrating back to zero drops the tables of keys: refused while values are under them."""

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.test import override_settings

from envelope_fields.crypto.format import encode_text
from envelope_fields.exceptions import EnvelopeError
from envelope_fields.migrating.refusals import KeysInUse
from envelope_fields.migrating.renames import PhaseWouldBeLost
from envelope_fields.models import ColumnConversion, MasterKey
from tests.migrating.conftest import keys_in
from tests.models import Chart, Note, moving
from tests.stored import stored

pytestmark = pytest.mark.django_db(databases=["default", "other"])


def to(target, using="default", **options):
    call_command("migrate", "envelope_fields", target, database=using, verbosity=0, **options)


class TestRefused:
    def test_values_under_them(self):
        Note.objects.create(text="a", data=None)
        Note.objects.create(text="b", data=1)
        Chart.objects.create(values=1)
        with pytest.raises(KeysInUse) as error:
            to("zero")
        assert str(error.value).startswith(
            "Reversing the first migration of envelope_fields would drop the keys of 'default', "
            "and values are stored under them: tests.Chart.values in the database 'default' (1), "
            "tests.Note.data in the database 'default' (1), tests.Note.text in the database "
            "'default' (2). None could be read again."
        )
        assert isinstance(error.value, EnvelopeError)
        assert MasterKey.objects.get().versions.count() == 1
        assert Note.objects.values_list("text", flat=True).count() == 2

    def test_values_in_another_database(self):
        Note.objects.using("other").create(text="a", data=None)
        with pytest.raises(KeysInUse, match=r"tests\.Note\.text in the database 'other' \(1\)"):
            to("zero")

    def test_copies_as_text(self):
        note = Note.objects.create(text="a", data=None)
        text = encode_text(bytes(stored(note, "text")))
        note.delete()
        user = get_user_model().objects.create_user("ann")
        LogEntry.objects.create(user=user, action_flag=1, change_message=text)
        with pytest.raises(KeysInUse, match=r"admin\.LogEntry\.change_message"):
            to("zero", fake=True)

    def test_faking_it(self):
        Note.objects.create(text="a")
        with pytest.raises(KeysInUse):
            to("zero", fake=True)


@pytest.mark.parametrize("phase", ["both", "only"])
def test_the_phase_of_a_column_in_clear(monkeypatch, phase):
    """Without its row, the column in clear would be read, which may be empty."""
    monkeypatch.setattr("envelope_fields.migrating.renames.apps", moving.apps)
    of_visits = {"model": "moving.Visit", "field": "report", "kind": "column"}
    ColumnConversion.objects.create(**of_visits, phase=phase)
    ColumnConversion.objects.create(**{**of_visits, "field": "ward"}, phase=phase)
    with pytest.raises(PhaseWouldBeLost, match=f"moving.Visit.report is {phase}") as caught:
        to("0004", fake=True)
    assert "ward" not in str(caught.value)
    ColumnConversion.objects.update(phase="clear")
    to("0004", fake=True)


class TestAllowed:
    """Faked, since none of it may happen to the tables of the other tests; the plan is the same."""

    def test_without_values(self):
        to("zero", fake=True)

    def test_back_to_0001(self):
        """Which leaves the keys alone."""
        Note.objects.create(text="a")
        to("0001", fake=True)

    def test_tables_that_no_keys_are_in(self):
        Note.objects.create(text="a")
        to("zero", "other", fake=True)

    def test_values_under_keys_that_are_not_in_them(self):
        Note.objects.create(text="a")
        with keys_in("other"):
            to("zero", "other", fake=True)

    def test_a_router_that_forbids_the_tables(self):
        Note.objects.create(text="a")
        with override_settings(DATABASE_ROUTERS=["tests.migrating.test_our_tables.NoKeys"]):
            to("zero", fake=True)
