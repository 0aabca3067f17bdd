"""Conversions of columns in the admin: seen, and brought further step by step."""

from datetime import timedelta

import pytest
from django.core.management import call_command
from django.urls import reverse
from django.utils import timezone

from envelope_fields.admin.conversions import STEPS
from envelope_fields.census import columns
from envelope_fields.conversion import runs
from envelope_fields.conversion.column_phases import moving_field, phase_now
from envelope_fields.conversion.counts import counted
from envelope_fields.grants import grant
from envelope_fields.jobs.throttle import NICE_RATIO
from envelope_fields.jobs.work import work
from envelope_fields.lifecycle import create_master_key
from envelope_fields.models import AuditEvent, ColumnConversion, MasterKey, RotationRun
from envelope_fields.policy import APPLICATION, Action
from tests.admin import last_event, officer, said
from tests.fields.legacy import written
from tests.models import Letter, Note
from tests.models.keyed import only
from tests.models.moving import IndexedVisit, OldIndexedVisit, OldVisit, Visit
from tests.models.tables import tables_of
from tests.stored import store

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(databases="__all__")]

tables = tables_of([Visit, IndexedVisit])
LABEL, LEGACY = "moving.Visit.report", "tests.Letter.text"
INDEXED, INDEX = "moving.IndexedVisit.code", "moving.indexedvisit.code_index"
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


def step_url(step, label=LABEL):
    return reverse("admin:envelope_fields_columnconversion_step", args=[label, step])


def steps(client, label=LABEL):
    return [each["name"] for each in client.get(page_url(label)).context["steps"]]


def in_phase(phase):
    ColumnConversion.objects.update_or_create(
        model="moving.Visit", field="report", defaults={"kind": "column", "phase": phase}
    )


@pytest.fixture
def key_of_fields():
    return MasterKey.objects.filter(alias="default").first() or create_master_key("default")


@pytest.fixture(autouse=True)
def rights(user, key_of_fields):
    grant(key_of_fields, user, tuple(Action), actor=APPLICATION)


def worked(client, step, label=LABEL):
    """Start a run in the admin, and do the work of its worker."""
    response = client.post(step_url(step, label), {"max_rate": ""})
    run = RotationRun.objects.latest("created_at")
    assert run.limits["nice_ratio"] == NICE_RATIO
    assert response.url == reverse("admin:envelope_fields_rotationrun_change", args=[run.pk])
    assert (run.kind, run.actor_name, run.state) == (step, "olga", "pending")
    assert work(run).state == "completed"


def numbers(page):
    return dict(page.context["row"].counted["numbers"])


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
        begun = runs.start("fill", field())
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


class TestColumnInClear:
    def test_the_whole_way(self, client, known_at_once, begun):
        ways = {
            "both": "clear", "filling": "both", "verified": "filling", "encrypted": "verified",
            "only": "encrypted",
        }  # fmt: skip
        for to, now in ways.items():
            assert phase_now(field()) == now
            if to == "verified":
                worked(client, "fill")
            if now == "encrypted":  # the worker was given a comparison with the switch
                assert "is not over" in client.get(step_url(to)).text
                work(RotationRun.objects.latest("created_at"))
            elif now in ("filling", "verified"):
                assert "has compared every row" in client.get(step_url(to)).text
                refused = client.post(step_url(to), follow=True)
                assert "has compared every row" in said(refused)[-1]
                assert phase_now(field()) == now
                worked(client, "compare")
            assert 'type="submit" class="default' in client.get(step_url(to)).text
            client.post(step_url(to))
            assert phase_now(field()) == to
            event = AuditEvent.objects.filter(action="change_conversion_phase").latest("number")
            assert event.actor_name == "olga"
            assert (event.before["phase"], event.after["phase"]) == (now, to)
        assert steps(client) == ["empty"]
        worked(client, "empty")
        assert counted(field()).clear == 0
        assert counted(field()).envelopes == 3

    def test_what_is_possible_in_each_phase(self, client):
        for phase, possible in {
            "clear": ["both"],
            "both": ["filling", "back-to-clear"],
            "filling": ["fill", "compare", "verified", "back-to-both"],
            "verified": ["compare", "encrypted", "back-to-filling"],
            "encrypted": ["compare", "only", "back-to-verified"],
            "only": ["empty"],
        }.items():
            in_phase(phase)
            assert steps(client) == possible

    @pytest.mark.parametrize(
        ("phase", "step"), [("both", "filling"), ("both", "back-to-clear"), ("filling", "fill")]
    )
    def test_while_other_processes_do_not_know(self, client, settings, phase, step):
        settings.ENVELOPE_FIELDS = {**settings.ENVELOPE_FIELDS, "KEY_CACHE_SECONDS": 3600}
        in_phase(phase)
        response = client.post(step_url(step), follow=True)
        assert "every process knows its phase at" in said(response)[-1]
        assert phase_now(field()) == phase
        assert not RotationRun.objects.exists()

    def test_back(self, client, known_at_once):
        for now, to in [
            ("encrypted", "verified"), ("verified", "filling"), ("filling", "both"),
            ("both", "clear"),
        ]:  # fmt: skip
            in_phase(now)
            client.post(step_url(f"back-to-{to}"))
            assert phase_now(field()) == to

    def test_back_ends_what_is_under_way(self, client, known_at_once):
        in_phase("filling")
        run = runs.start("fill", field())
        assert "fill" not in steps(client)
        assert f"the run {run.pk} is not over" in client.get(step_url("verified")).text
        client.post(step_url("back-to-both"))
        run.refresh_from_db()
        assert (run.state, phase_now(field())) == ("cancelled", "both")

    def test_rows_that_differ_are_compared_once_more(self, client, known_at_once, begun):
        in_phase("filling")
        worked(client, "fill")
        OldVisit.objects.filter(pk=OldVisit.objects.first().pk).update(report="of an old build")
        worked(client, "compare")
        refused = client.post(step_url("verified"), follow=True)
        assert "1 row differed and had to be filled again" in said(refused)[-1]
        worked(client, "compare")
        client.post(step_url("verified"))
        assert phase_now(field()) == "verified"

    def test_what_an_old_build_writes_between_the_comparison_and_the_switch(
        self, client, known_at_once, begun
    ):
        in_phase("verified")
        work(runs.start("fill", field()))
        row = OldVisit.objects.first()
        worked(client, "compare")
        OldVisit.objects.filter(pk=row.pk).update(report="of an old build")
        client.post(step_url("encrypted"))
        assert phase_now(field()) == "encrypted"
        run = RotationRun.objects.latest("created_at")
        assert (run.kind, run.state, run.actor_name) == ("compare", "pending", "olga")
        work(run)
        assert phase_now(field()) == "verified"
        assert Visit.objects.get(pk=row.pk).report == "of an old build"
        event = AuditEvent.objects.filter(action="change_conversion_phase").latest("number")
        assert (event.actor_name, event.after["phase"]) == ("olga", "verified")

    def test_without_a_worker_the_switch_is_made_all_the_same(self, client, known_at_once):
        in_phase("verified")
        work(runs.start("fill", field()))
        work(runs.start("compare", field()))
        client.post(step_url("encrypted"))
        assert phase_now(field()) == "encrypted"
        assert RotationRun.objects.count() == 2

    def test_a_comparison_that_is_too_long_ago(self, client, known_at_once, begun):
        in_phase("filling")
        worked(client, "fill")
        worked(client, "compare")
        ColumnConversion.objects.update(changed_at=timezone.now() - timedelta(hours=4))
        RotationRun.objects.filter(kind="compare").update(
            created_at=timezone.now() - timedelta(hours=3),
            finished_at=timezone.now() - timedelta(hours=2),
        )
        assert "too long ago" in client.get(step_url("verified")).text

    @pytest.mark.parametrize(
        "step", ["only", "verified", "back-to-clear", "fill", "convert", "finish"]
    )
    def test_nothing_to_do(self, client, step):
        for send in (client.get, client.post):
            assert "there is nothing to do here" in said(send(step_url(step), follow=True))[0]
        assert not RotationRun.objects.exists()
        assert not ColumnConversion.objects.exists()


class TestIndexes:
    """Lookups are to find every row after the switch."""

    @pytest.fixture(autouse=True)
    def with_index(self, monkeypatch, known_at_once):
        monkeypatch.setattr(columns, "apps", only(IndexedVisit))

    def test_rows_that_were_filled_since_an_index_is_read(self, client, begun):
        OldIndexedVisit.objects.create(code="code 1")
        ColumnConversion.objects.create(
            model="moving.IndexedVisit", field="code", kind="column", phase="filling"
        )
        worked(client, "fill", INDEXED)
        worked(client, "compare", INDEXED)
        client.post(step_url("verified", INDEXED))
        assert "which is not begun" in client.get(step_url("encrypted", INDEXED)).text
        call_command("rebuild_indexes", INDEX, to="reading", verbosity=0)
        OldIndexedVisit.objects.update(code="of an old build")
        worked(client, "compare", INDEXED)
        worked(client, "compare", INDEXED)
        refused = client.post(step_url("encrypted", INDEXED), follow=True)
        assert "may not be in it" in said(refused)[-1]
        call_command("rebuild_indexes", INDEX, to="reading", verbosity=0)
        client.post(step_url("encrypted", INDEXED))
        assert phase_now(moving_field(INDEXED)) == "encrypted"
        assert IndexedVisit.objects.filter(code="of an old build").exists()


class TestOtherPackage:
    def test_to_its_end(self, client, begun):
        assert steps(client, LEGACY) == ["convert", "finish"]
        refused = client.post(step_url("finish", LEGACY), follow=True)
        assert " left. To convert" in said(refused)[-1]
        worked(client, "convert", LEGACY)
        client.post(step_url("finish", LEGACY))
        assert client.get(page_url(LEGACY)).context["row"].phase == "finished"
        assert (last_event().action, last_event().actor_name) == ("finish_conversion", "olga")
        assert steps(client, LEGACY) == []

    def test_keys_that_open_nothing(self, client, begun):
        store(Letter.objects.get(), "text", written.fernet("x")[:-3] + b"AAA")
        response = client.post(step_url("convert", LEGACY), follow=True)
        assert response.redirect_chain
        assert "secret" not in response.text
        assert not RotationRun.objects.exists()


class TestWhoMay:
    def test_a_reader_takes_no_steps(self, client, key_of_fields):
        ben = officer("ben", permissions=["view_columnconversion"], key=key_of_fields)
        client.force_login(ben)
        assert steps(client) == []
        for step in STEPS:
            assert client.post(step_url(step)).status_code == 403
            assert (last_event().outcome, last_event().actor_name) == ("denied", "ben")
        assert not ColumnConversion.objects.exists()

    def test_permissions_are_not_grants(self, client, key_of_fields):
        MasterKey.objects.filter(pk=key_of_fields.pk).update(managed_by="customer")
        client.force_login(officer("oscar", key=key_of_fields, actions=(Action.DESCRIBE,)))
        assert steps(client) == []
        assert client.post(step_url("both")).status_code == 403
        assert not ColumnConversion.objects.exists()

    @pytest.mark.parametrize(
        ("permission", "seen"),
        [("view_rotationrun", 1), ("change_rotationrun", 1), ("add_rotationrun", 0)],
    )
    def test_who_sees_the_latest_runs(self, client, key_of_fields, permission, seen):
        in_phase("filling")
        run = runs.start("fill", field())
        permissions = ["view_columnconversion", permission]
        client.force_login(officer("ben", permissions=permissions, key=key_of_fields))
        page = client.get(page_url())
        assert [each["row"].pk for each in page.context["rotations"]] == [run.pk][:seen]
        assert (str(run.pk) in page.text) == bool(seen)
        assert "No run has gone over" not in page.text

    def test_one_who_may_not_see_the_run_is_led_back(
        self, client, key_of_fields, known_at_once, begun
    ):
        in_phase("filling")
        permissions = ["view_columnconversion", "change_columnconversion"]
        client.force_login(officer("ben", permissions=permissions, key=key_of_fields))
        response = client.post(step_url("fill"), {"max_rate": ""})
        assert response.url == page_url()
        run = RotationRun.objects.get()
        assert (run.kind, run.actor_name) == ("fill", "ben")
        there = reverse("admin:envelope_fields_rotationrun_change", args=[run.pk])
        assert client.get(there).status_code == 403

    def test_without_the_permission(self, client):
        client.force_login(officer("ben", permissions=["view_masterkey"]))
        assert client.get(LIST).status_code == 403
        assert client.get(page_url()).status_code == 404

    def test_one_whose_key_may_not_be_seen(self, client, key_of_fields):
        MasterKey.objects.filter(pk=key_of_fields.pk).update(managed_by="customer")
        ben = officer("ben", permissions=["view_columnconversion"])
        client.force_login(ben)
        assert LABEL not in client.get(LIST).text
        assert client.get(page_url()).status_code == 404
        grant(key_of_fields, ben, (Action.DESCRIBE,), actor=APPLICATION)
        assert LABEL in client.get(LIST).text
        assert client.get(page_url()).status_code == 200

    @pytest.mark.parametrize("label", ["tests.Note.text", "no.Such.field", "moving.Visit"])
    def test_what_is_not_converted(self, client, label):
        assert client.get(page_url(label)).status_code == 404
