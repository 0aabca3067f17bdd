"""Builds that do not know an index, and go on writing: nothing is read that they make wrong."""

import pytest
from django.db import connection

from envelope_fields.checks import indexes as checks
from envelope_fields.exceptions import IndexNotReady
from envelope_fields.indexing import bring_to, change_state, find_indexes, run, runs, start, states
from envelope_fields.lifecycle.index_states import change_index_state
from envelope_fields.lifecycle.other_processes import OpenTransaction, Waited
from envelope_fields.models import AuditEvent, BlindIndex
from envelope_fields.rotation import failures
from tests.models.indexed import Person

pytestmark = [pytest.mark.django_db(databases="__all__"), pytest.mark.usefixtures("known_at_once")]

LABEL = "tests.person.email_index"


def execute(sql, *params):
    with connection.cursor() as cursor:
        cursor.execute(sql, params)


def tables():
    return [each for each in find_indexes([LABEL]) if each.using == "default"]


def state():
    return BlindIndex.objects.get(label=LABEL).state


@pytest.fixture
def people():
    found = [Person.objects.create(email=f"ada{number}@example.org") for number in range(3)]
    found.append(Person.objects.create(email=None))
    BlindIndex.objects.filter(label=LABEL).update(state="filling")
    return found


def inserts(people):
    """An older build makes a row."""
    person = Person.objects.create(email="new@example.org")
    execute("UPDATE tests_person SET email_index = NULL WHERE id = %s", person.pk)


def rewrites(people):
    """An older build writes a value into a row that had none."""
    execute(
        "UPDATE tests_person SET email = (SELECT email FROM (SELECT email, id FROM tests_person) "
        "AS others WHERE id = %s) WHERE id = %s", people[0].pk, people[3].pk,
    )  # fmt: skip
    execute("UPDATE tests_person SET email = NULL, email_index = NULL WHERE id = %s", people[0].pk)


def updates(people):
    """An older build writes another value into a row."""
    execute(
        "UPDATE tests_person SET email = (SELECT email FROM (SELECT email, id FROM tests_person) "
        "AS others WHERE id = %s) WHERE id = %s", people[0].pk, people[1].pk,
    )  # fmt: skip
    Person.objects.filter(pk=people[0].pk).update(email="eve@example.org")


@pytest.mark.parametrize("older_build", [inserts, updates, rewrites])
class TestWhileOneWrites:
    def test_between_two_commands(self, people, older_build):
        bring_to(tables(), "verified")
        older_build(people)
        self.is_refused()
        assert bring_to(tables(), "reading").state == "reading"

    def test_within_one_command(self, people, older_build, monkeypatch):
        wait = states.wait_until_known
        with monkeypatch.context() as patched:
            patched.setattr(
                states, "wait_until_known", lambda *args: (older_build(people), wait(*args))[1]
            )
            self.is_refused()
        assert bring_to(tables(), "reading").state == "reading"
        assert all(Person.objects.filter(email=each.email).exists() for each in Person.objects.all()
                   if each.email)  # fmt: skip

    def is_refused(self):
        with pytest.raises(IndexNotReady, match="1 row changed without it") as refused:
            bring_to(tables(), "reading")
        [wrong] = failures(refused.value.report.last_run)
        assert wrong.cause in ("Missing", "Differs")
        assert state() == "filling"
        assert AuditEvent.objects.order_by("number").last().after["state"] == "filling"


def test_this_build_may_write_meanwhile(people, monkeypatch):
    wait = states.wait_until_known

    def wait_and_write(*args):
        Person.objects.create(email="new@example.org")
        Person.objects.filter(pk=people[0].pk).update(email="ADA0@example.org")
        people[1].email = "other@example.org"
        people[1].save()
        return wait(*args)

    monkeypatch.setattr(states, "wait_until_known", wait_and_write)
    report = bring_to(tables(), "reading")
    assert (report.state, report.problems) == ("reading", 0)
    assert Person.objects.get(email="ada0@example.org") == people[0]


def test_a_transaction_that_is_older(people, monkeypatch):
    waited = Waited([OpenTransaction("default", "42", "x")], [])
    with monkeypatch.context() as patched:
        patched.setattr(runs.other_processes, "wait_for_older", lambda *_: waited)
        with pytest.raises(IndexNotReady, match="process 42 in the database 'default'"):
            bring_to(tables(), "reading")
    assert state() == "verified"
    assert bring_to(tables(), "reading").state == "reading"


def test_single_steps(people):
    """Of the admin and the API: each asks for what was done."""
    index = tables()[0].index

    def verify():
        for kind in ("rebuild_index", "verify_index"):
            run(start(index, kind, using="default"))

    verify()
    change_state(index, "verified")
    with pytest.raises(IndexNotReady, match="no verification that began after"):
        change_state(index, "reading")
    inserts(people)
    run(start(index, "verify_index", using="default"))
    with pytest.raises(IndexNotReady, match="has found 1 row wrong"):
        change_state(index, "reading")
    verify()
    assert change_state(index, "reading").state == "reading"


def test_it_is_not_read_too_early(people, settings):
    settings.ENVELOPE_FIELDS = {**settings.ENVELOPE_FIELDS, "KEY_CACHE_SECONDS": 60}
    bring_to(tables(), "verified")
    with pytest.raises(IndexNotReady, match="may write rows without it for 60 seconds more"):
        change_index_state(LABEL, "reading")
    assert state() == "verified"


class TestOneThatReadsAtOnce:
    """Its table was empty when it was added, and an older build writes on."""

    @pytest.fixture
    def people(self, monkeypatch):
        monkeypatch.setattr(checks, "checked_models", lambda configs: [Person])
        found = [Person.objects.create(email=f"ada{number}@example.org") for number in range(3)]
        found.append(Person.objects.create(email=None))
        assert state() == "reading"
        return found

    @pytest.mark.parametrize("older_build", [inserts, updates, rewrites])
    def test_a_rebuild_mends_it_while_lookups_ask(self, people, older_build):
        older_build(people)
        counted = checks.check_unindexed_rows(databases=["default"])
        assert len(counted) == (0 if older_build is updates else 1), (
            "a stale one is found by a look"
        )
        report = bring_to(tables())
        assert (report.state, report.is_right, report.written) == ("reading", True, 1)
        assert checks.check_unindexed_rows(databases=["default"]) == []
        for person in Person.objects.exclude(email=None):
            assert Person.objects.get(email=person.email) == person

    def test_a_row_with_a_value_that_is_there_already(self, people):
        execute(
            "UPDATE tests_person SET email_index = NULL, email = (SELECT email FROM (SELECT email, "
            "id FROM tests_person) AS others WHERE id = %s) WHERE id = %s",
            people[0].pk, people[3].pk,
        )  # fmt: skip
        report = bring_to(tables())
        [found] = failures(report.last_run)
        assert (report.state, found.cause, found.row) == ("reading", "Collision", str(people[3].pk))
        assert str(people[0].pk) in found.message
        assert len(checks.check_unindexed_rows(databases=["default"])) == 1
