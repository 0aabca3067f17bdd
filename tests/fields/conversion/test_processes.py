"""Processes that go by what they knew of a phase, threads, transactions, and event loops."""

from contextlib import contextmanager
from itertools import pairwise

import pytest
from asgiref.sync import sync_to_async
from django.db import connection, transaction

from envelope_fields.conf import configuration
from envelope_fields.exceptions import MasterKeyUnusable
from envelope_fields.keyring import conversions, forget
from envelope_fields.models import ColumnConversion, ColumnPhase
from tests.event_loops import in_event_loop
from tests.keyring.clock import Clock
from tests.models.converting import Visit, apps, set_phase
from tests.models.tables import tables_of
from tests.stored import stored

pytestmark = pytest.mark.django_db(transaction=True)
tables = tables_of(apps)


@pytest.fixture(autouse=True)
def _nothing_is_left():
    yield
    ColumnConversion.objects.all().delete()
    Visit.objects.all().delete()


@contextmanager
def a_process_in(phase):
    """Have what is done within be done by a process that knows a phase."""
    known = conversions.Conversions()
    known.phases[Visit._meta.label, "report"] = ColumnPhase(phase)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conversions, "known_conversions", lambda: known)
        yield


def changed_elsewhere(phase):
    """Change the phase as another process does: this one hears nothing of it."""
    table = connection.ops.quote_name(ColumnConversion._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {table} SET phase = %s", [phase])


# Those that are there at once while one process knows the next phase, and another does not yet.
BESIDE = [*pairwise(ColumnPhase), ("verified", "clear"), ("filling", "both"), ("both", "clear"),
          ("filling", "clear"), ("verified", "both"), ("encrypted", "verified")]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), BESIDE, ids=lambda each: str(each))
def test_two_processes_read_what_the_other_has_written(one, other):
    for writer, reader in ((one, other), (other, one)):
        with a_process_in(writer):
            visit = Visit.objects.create(report="created")
        with a_process_in(reader):
            loaded = Visit.objects.get(pk=visit.pk)
            assert loaded.report == "created"
        with a_process_in(writer):
            Visit.objects.update(report="updated")
        with a_process_in(reader):
            assert Visit.objects.values_list("report", flat=True).get() == "updated"
            loaded.title = "another"
            loaded.report = "saved"
            loaded.save()
        with a_process_in(writer):
            assert Visit.objects.get(pk=visit.pk).report == "saved"
        visit.delete()


def test_a_change_elsewhere_is_known_within_the_bound(monkeypatch):
    clock = Clock(monkeypatch)
    forget()
    set_phase(Visit, "report", "verified")
    visit = Visit.objects.create(report="x")
    query = Visit.objects.filter(pk=visit.pk)
    sql = str(query.query)
    changed_elsewhere("encrypted")
    assert str(query.query) == sql
    Visit.objects.update(report="y")
    assert (stored(visit, "report_clear"), query.get().report) == ("y", "y")
    clock.move(configuration().key_cache_seconds + 1)
    assert str(query.query) != sql
    assert query.get().report == "y"
    forget()


def test_a_phase_that_is_rolled_back(django_assert_num_queries):
    set_phase(Visit, "report", "both")
    Visit.objects.create(report="x")
    with transaction.atomic():
        set_phase(Visit, "report", "only")
        Visit.objects.update(report="y")
        transaction.set_rollback(True)
    assert Visit.objects.get().report == "x"
    assert stored(Visit.objects.get(), "report_clear") == "x"
    with django_assert_num_queries(1):
        assert Visit.objects.get().report == "x"


def test_a_phase_that_cannot_be_known_denies():
    set_phase(Visit, "report", "both")
    Visit.objects.create(report="x")

    def fails():
        raise MasterKeyUnusable("The keys' database cannot be read.")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conversions, "known_conversions", fails)
        with pytest.raises(MasterKeyUnusable):
            Visit.objects.get()
        with pytest.raises(MasterKeyUnusable):
            Visit.objects.update(report="y")


@pytest.mark.parametrize("phase", ColumnPhase)
def test_in_an_event_loop(phase):
    async def story():
        await sync_to_async(set_phase)(Visit, "report", phase)
        forget()
        visit = await Visit.objects.acreate(report="x")
        loaded = await Visit.objects.aget(pk=visit.pk)
        assert loaded.report_clear == loaded.report == "x"
        loaded.report = "y"
        await loaded.asave()
        await Visit.objects.filter(pk=visit.pk).aupdate(title="t")
        assert [each.report async for each in Visit.objects.all()] == ["y"]
        assert [each async for each in Visit.objects.values_list("report", flat=True)] == ["y"]
        bare = await Visit.objects.only("title").aget()
        await bare.arefresh_from_db(fields=["report"])
        assert bare.report == "y"
        if not phase.reads_new:
            assert await Visit.objects.filter(report__icontains="Y").acount() == 1
            assert [each async for each in Visit.objects.order_by("report")] == [loaded]
        await Visit.objects.all().adelete()

    in_event_loop(story())
