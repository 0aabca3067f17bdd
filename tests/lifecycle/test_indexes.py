"""The states of a blind index: which follow which, by whom, and what is recorded."""

from collections import namedtuple
from types import SimpleNamespace

import pytest
from django.contrib.auth.models import User
from django.db import transaction

from envelope_fields.census.columns import CensusFailed
from envelope_fields.exceptions import IndexNotBegun, IndexNotReady, KeyAccessDenied
from envelope_fields.fields.index import macs
from envelope_fields.keyring import cache
from envelope_fields.lifecycle import create_master_key, indexes
from envelope_fields.lifecycle.index_states import change_index_state
from envelope_fields.lifecycle.indexes import begin_index
from envelope_fields.models import (
    AuditEvent,
    BlindIndex,
    BlindIndexKey,
    IndexState,
    KeyRowProtected,
    MasterKey,
)
from envelope_fields.policy import acting_as
from tests.keyring.indexed import LABEL, index, term
from tests.models import Note

pytestmark = pytest.mark.django_db

STEPS = {
    ("filling", "verified"),
    ("filling", "retired"),
    ("verified", "reading"),
    ("verified", "filling"),
    ("verified", "retired"),
    ("reading", "verified"),
    ("reading", "filling"),
}


@pytest.fixture
def begun():
    begin_index(index(), "search", "default")
    return BlindIndex.objects.get()


def last_event():
    return AuditEvent.objects.order_by("number").last()


def test_migrate_while_another_database_is_not_there(monkeypatch):
    """As while the databases of tests are made, one after another: it begins when it is needed."""

    def failing(index, databases):
        raise CensusFailed("the other one is not there")

    column = namedtuple("Column", "field")(index())
    monkeypatch.setattr(indexes, "index_columns", lambda using: [column])
    with monkeypatch.context() as patch:
        patch.setattr(indexes, "index_has_rows", failing)
        indexes.repair(using="default")
    assert not BlindIndex.objects.exists()
    indexes.repair(using="default")
    assert BlindIndex.objects.get().label == LABEL


def test_beginning(begun):
    assert (begun.label, begun.name, begun.state) == (LABEL, f"field:{LABEL}", "reading")
    pin = BlindIndexKey.objects.get()
    assert (pin.name, pin.master_key.alias, pin.version.number) == (begun.name, "search", 1)
    key = MasterKey.objects.get(alias="search")
    assert (key.usage, key.managed_by, key.creator_type) == (
        *("generate_verify_mac", "application", "application"),
    )
    event = last_event()
    assert (event.action, event.actor_type, event.key_alias, event.version_number) == (
        *("begin_index", "application", "search", 1),
    )
    assert event.after == {
        "index": LABEL, "name": f"field:{LABEL}", "state": "reading", "normalizer": "casefold 1",
    }  # fmt: skip


def test_beginning_again_does_nothing(begun):
    events = AuditEvent.objects.count()
    begin_index(index(), "search", "default")
    assert AuditEvent.objects.count() == events
    assert (BlindIndex.objects.count(), BlindIndexKey.objects.count()) == (1, 1)


def test_beginning_with_another_key(begun):
    with pytest.raises(IndexNotReady, match="another search key"):
        begin_index(index(key="tenant"), "tenant", "default")
    assert BlindIndexKey.objects.count() == 1


def test_beginning_with_the_key_of_another_tenant(begun):
    begin_index(index(key="tenant", only_alias=None), "tenant", "default")
    assert BlindIndex.objects.count() == 1
    assert BlindIndexKey.objects.count() == 2
    assert last_event().after == {"index": LABEL, "name": f"field:{LABEL}"}


@pytest.mark.parametrize("to", IndexState)
@pytest.mark.parametrize("before", IndexState)
def test_steps(begun, before, to):
    BlindIndex.objects.update(state=before)
    events = AuditEvent.objects.count()
    if before != to and (before, to) not in STEPS:
        with pytest.raises(IndexNotReady, match=f"is {before.label}, and"):
            change_index_state(LABEL, to)
        return
    assert change_index_state(LABEL, to).state == to
    assert BlindIndex.objects.get().state == to
    assert AuditEvent.objects.count() == events + (before != to)
    if before != to:
        event = last_event()
        assert (event.action, event.key_alias) == ("change_index", "search")
        assert (event.before["state"], event.after["state"]) == (before, to)
        assert event.after["index"] == LABEL


def test_it_is_known_at_once(begun):
    assert macs.is_reading(index(), "search", "default")
    change_index_state(LABEL, "filling")
    assert not macs.is_reading(index(), "search", "default")
    assert not cache.known.table.indexes


def test_one_that_is_not_begun():
    with pytest.raises(IndexNotBegun, match=r"No blind index a\.b\.c is begun"):
        change_index_state("a.b.c", "reading")


def test_a_user_needs_a_grant(begun):
    MasterKey.objects.filter(alias="search").update(managed_by="customer")
    with acting_as(User.objects.create(username="ben")), pytest.raises(KeyAccessDenied):
        change_index_state(LABEL, "filling")
    assert BlindIndex.objects.get().state == "reading"


def test_nobody_deletes_what_an_index_is_under(begun):
    for rows in (BlindIndex.objects, BlindIndexKey.objects):
        with pytest.raises(KeyRowProtected, match="cannot be deleted"), transaction.atomic():
            rows.all().delete()


@pytest.mark.django_db(transaction=True)
def test_a_key_that_is_there_serves_it():
    create_master_key("search", usage="generate_verify_mac")
    assert macs.index_value(index(), "search", term(b"a"), "default")
    assert MasterKey.objects.filter(alias="search").count() == 1


@pytest.mark.django_db(databases="__all__")
@pytest.mark.parametrize(("is_test_run", "state"), [(True, "reading"), (False, "filling")])
def test_databases_that_a_test_run_has_not_made_yet(monkeypatch, is_test_run, state):
    """Until then, its other aliases lead to databases that are in use, or to none."""
    Note.objects.using("other").create(text="of another database")
    monkeypatch.setattr(indexes, "index_columns", lambda _: [SimpleNamespace(field=index())])
    monkeypatch.setattr(indexes, "is_test_run", lambda: is_test_run)
    monkeypatch.setattr(indexes.index_triggers, "settle", lambda *_: None)  # it is no field
    indexes.repair(using="default")
    assert BlindIndex.objects.get(label=LABEL).state == state
