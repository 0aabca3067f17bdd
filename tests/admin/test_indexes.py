"""Blind indexes in the admin: seen, and brought further step by step, each asked before."""

from datetime import timedelta

import pytest
from django.db import connection
from django.urls import reverse
from django.utils import timezone

from envelope_fields.census import columns
from envelope_fields.grants import grant
from envelope_fields.indexing import run, start
from envelope_fields.indexing.representation import begun_indexes, standings
from envelope_fields.models import AuditEvent, BlindIndex, MasterKey, RotationRun
from envelope_fields.policy import APPLICATION, Action
from tests.admin import last_event, officer, page_of, said
from tests.models.indexed import MODELS, Person, same_day_and_reason
from tests.models.keyed import only
from tests.models.tables import tables_of

pytestmark = [
    pytest.mark.any_database,
    pytest.mark.django_db(databases="__all__"),
    pytest.mark.usefixtures("begun"),
]

tables = tables_of(MODELS)
LABEL = "tests.person.email_index"
LIST = reverse("admin:envelope_fields_blindindex_changelist")


@pytest.fixture(autouse=True)
def people(monkeypatch):
    monkeypatch.setattr(columns, "apps", only(*MODELS))
    found = [Person.objects.create(email=f"Ada{number}@Example.org") for number in range(3)]
    BlindIndex.objects.filter(label=LABEL).update(state="filling")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE tests_person SET email_index = NULL")
    return found


@pytest.fixture
def key(people):
    """The search key, on which the officer has all rights."""
    return MasterKey.objects.get(alias="search")


def row():
    return BlindIndex.objects.get(label=LABEL)


def page_url():
    return reverse("admin:envelope_fields_blindindex_change", args=[row().pk])


def step_url(name, pk=None):
    return reverse("admin:envelope_fields_blindindex_step", args=[pk or row().pk, name])


def done(kind):
    return run(start(Person._meta.get_field("email_index"), kind, using="default"))


def steps(page):
    return [each["name"] for each in page.context["steps"]]


class TestSeeing:
    def test_the_list(self, client):
        page = client.get(LIST).text
        assert LABEL in page
        assert "search, version 1" in page
        assert "filling" in page
        [found] = [
            each for each in client.get(LIST).context["cl"].result_list if each.label == LABEL
        ]
        assert not found.standing.is_verified

    def test_one(self, client):
        done("rebuild_index")
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE tests_person SET email_index = NULL WHERE id = %s",
                [Person.objects.order_by("pk").first().pk],
            )
        page = client.get(page_url())
        [found] = page.context["versions"]
        assert (found["key"], found["number"], found["values"]) == ("search", 1, "2")
        assert "no index: 1." in page.text
        assert "index rebuild" in page.text
        assert steps(page) == ["collisions", "rebuild", "verify", "verified", "retired"]
        assert "example" not in page.text.lower()

    def test_what_is_possible_in_each_state(self, client):
        for state, possible in {
            "verified": ["collisions", "rebuild", "verify", "reading", "filling", "retired"],
            "reading": ["collisions", "rebuild", "verify", "verified", "filling", "retired"],
            "retired": ["rebuild", "verify"],
        }.items():
            BlindIndex.objects.filter(label=LABEL).update(state=state)
            assert steps(client.get(page_url())) == possible

    def test_one_that_no_model_has(self, client):
        old = BlindIndex.objects.create(
            label="old.patient.index", name="field:old.patient.index", normalizer="exact",
            normalizer_version=1, fingerprint="0" * 32, state="retired",
        )  # fmt: skip
        page = client.get(reverse("admin:envelope_fields_blindindex_change", args=[old.pk]))
        assert "no model has it any more" in page.text
        assert steps(page) == []
        assert client.get(LIST).status_code == 200
        assert client.get(step_url("rebuild", old.pk)).status_code == 404

    def test_on_the_page_of_the_search_key(self, client, key):
        done("rebuild_index")
        page = client.get(page_of(key))
        [found] = [each for each in page.context["indexes"] if each["label"] == LABEL]
        assert (found["number"], found["rows"], found["url"]) == (1, 3, page_url())
        assert page_url() in page.text

    def test_many_take_no_more_queries_than_one(self, client, django_assert_num_queries):
        rows = list(begun_indexes())
        for each in (rows[:1], rows):
            with django_assert_num_queries(2):  # the keys, and the runs
                assert len(standings(each)) == len(each)


class TestRuns:
    @pytest.mark.parametrize(
        ("step", "kind"), [("rebuild", "rebuild_index"), ("verify", "verify_index")]
    )
    def test_they_are_asked_for_and_started(
        self, client, begun, step, kind, django_capture_on_commit_callbacks
    ):
        assert "The values of every row are opened" in client.get(step_url(step)).text
        assert not RotationRun.objects.exists()
        with django_capture_on_commit_callbacks(execute=True):
            response = client.post(step_url(step), {"max_rate": "10", "nice_ratio": "1"})
        made = RotationRun.objects.get()
        assert response.url == reverse("admin:envelope_fields_rotationrun_change", args=[made.pk])
        assert begun == [made.pk]
        assert (made.kind, made.actor_name) == (kind, "olga")
        assert (made.limits["max_rate"], made.limits["nice_ratio"]) == (10, 1)
        assert (last_event().action, last_event().actor_name) == (kind, "olga")
        page = client.get(page_url())
        assert "rebuild" not in steps(page)
        assert page.context["run"]["state"] == "pending"
        run(made)
        shown = client.get(response.url).text
        assert "tests.Person.email_index" in shown
        assert ("It has a value, and no index." in shown) == (step == "verify")
        assert {"verify": "Found wrong", "rebuild": "Written"}[step] in shown
        assert "Moved" not in shown
        assert "Could not be moved" not in shown

    @pytest.mark.parametrize(
        ("kind", "moved", "bar"),
        [("rebuild_index", "3", "Rows looked at"), ("verify_index", "2", "Rows compared")],
    )
    def test_what_their_pages_say(self, client, kind, moved, bar):
        done("rebuild_index")
        with connection.cursor() as cursor:
            last = Person.objects.order_by("pk").last()
            change = "" if kind == "rebuild_index" else f" WHERE id = {last.pk}"
            cursor.execute(f"UPDATE tests_person SET email_index = NULL{change}")
        made = done(kind)
        page = client.get(reverse("admin:envelope_fields_rotationrun_change", args=[made.pk]))
        texts = page.context["run"]["texts"]
        assert (texts["moved"], texts["failed"]) == (moved, str(3 - int(moved)))
        assert page.context["run"]["rows"]["fields"][0][3] == moved
        assert f'aria-label="{bar}"' in page.text

    def test_cancelling_one(self, client):
        for kind, said_then in (
            ("rebuild_index", "Rows that were written stay so: 0."),
            ("verify_index", "It has written nothing."),
        ):
            index = Person._meta.get_field("email_index")
            begun = start(index, kind, using="default")
            url = reverse("admin:envelope_fields_rotationrun_operation", args=[begun.pk, "cancel"])
            page = client.get(url).text
            assert said_then in page
            assert "under its version" not in page
            client.post(url, {"confirmation": "yes"})

    def test_one_at_a_time(self, client):
        begun = start(Person._meta.get_field("email_index"), "verify_index", using="default")
        response = client.post(step_url("rebuild"), {}, follow=True)
        assert f"has a run that is not over: {begun.pk}" in said(response)[0]
        assert RotationRun.objects.count() == 1

    def test_without_a_worker(self, client, settings):
        ours = settings.ENVELOPE_FIELDS
        settings.ENVELOPE_FIELDS = {name: ours[name] for name in ours if name != "ROTATION_WORKER"}
        page = client.get(step_url("rebuild")).text
        assert f"python manage.py rebuild_indexes {LABEL}" in page
        client.post(step_url("rebuild"), {})
        assert not RotationRun.objects.exists()

    def test_bad_input(self, client):
        assert client.post(step_url("rebuild"), {"max_rate": "0"}).context["form"].errors
        assert not RotationRun.objects.exists()


class TestCollisions:
    def test_there_are_none(self, client):
        response = client.post(step_url("collisions"), follow=True)
        assert said(response) == ["No two rows have the same normal form, of 3."]

    def test_they_are_named_by_their_rows(self, client, people):
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE tests_person SET email = (SELECT email FROM (SELECT email, id FROM "
                "tests_person) AS others WHERE id = %s) WHERE id = %s",
                [people[0].pk, people[2].pk],
            )
        page = client.post(step_url("collisions")).text
        assert "Rows with the normal form of another one: 1." in page
        assert f"{people[0].pk} and {people[2].pk}" in page
        assert "example" not in page.lower()

    def test_by_a_constraint(self, client, people):
        first, second = same_day_and_reason(people[0])
        visits = BlindIndex.objects.get(label="tests.visit.reason_index")
        page = client.post(step_url("collisions", visits.pk)).text
        assert f"{first.pk} and {second.pk}, by one_reason_a_day" in page


class TestStates:
    def test_too_early(self, client):
        page = client.get(step_url("verified"))
        assert "no verification that began after" in page.text
        assert 'type="submit" class="default"' not in page.text
        response = client.post(step_url("verified"), follow=True)
        assert "no verification that began after" in said(response)[0]
        assert row().state == "filling"

    def test_the_whole_way(self, client, known_at_once):
        done("rebuild_index")
        done("verify_index")
        page = client.get(step_url("verified"))
        assert ": 3. Wrong: 0." in page.text
        shown = {"shown": page.context["shown"]}
        response = client.post(step_url("verified"), shown, follow=True)
        assert said(response) == [f"The index {LABEL} is verified."]
        assert client.get(page_url()).context["original"].standing.is_verified
        assert "no verification that began after" in client.get(step_url("reading")).text
        done("verify_index")
        client.post(step_url("reading"))
        assert row().state == "reading"
        event = last_event()
        assert (event.action, event.actor_name) == ("change_index", "olga")
        assert (event.before["state"], event.after["state"]) == ("verified", "reading")
        refused = client.post(step_url("retired"), follow=True)
        assert "its lookups would end" in said(refused)[-1]

    def test_a_page_that_is_stale(self, client):
        BlindIndex.objects.filter(label=LABEL).update(state="reading")
        shown = {"shown": client.get(step_url("verified")).context["shown"]}
        BlindIndex.objects.filter(label=LABEL).update(
            state_changed_at=timezone.now() - timedelta(days=1)
        )
        response = client.post(step_url("verified"), shown, follow=True)
        assert "has changed since this page was shown" in said(response)[0]
        assert row().state == "reading"

    def test_nothing_to_do(self, client):
        response = client.get(step_url("reading"), follow=True)
        assert "there is nothing to do here" in said(response)[0]


class TestWhoMay:
    def test_a_reader_sees_no_steps(self, client, key):
        ben = officer("ben", permissions=["view_blindindex"])
        grant(key, ben, tuple(Action), actor=APPLICATION)
        client.force_login(ben)
        assert steps(client.get(page_url())) == []
        for name in ("rebuild", "verify", "collisions", "verified", "retired"):
            assert client.post(step_url(name)).status_code == 403
            assert (last_event().outcome, last_event().actor_name) == ("denied", "ben")
        assert row().state == "filling"
        assert not RotationRun.objects.exists()

    def test_permissions_are_not_grants(self, client):
        client.force_login(officer("oscar"))
        assert "retired" not in steps(client.get(page_url()))
        assert client.post(step_url("retired")).status_code == 403
        assert row().state == "filling"

    def test_an_index_whose_key_may_not_be_seen(self, client, key):
        MasterKey.objects.filter(alias="search").update(managed_by="customer")
        client.force_login(officer("oscar"))
        assert LABEL not in client.get(LIST).text
        assert client.get(page_url(), follow=True).status_code in (200, 404)
        assert client.get(step_url("rebuild")).status_code == 404
        assert client.post(step_url("retired")).status_code == 404
        event = AuditEvent.objects.filter(outcome="denied").latest("number")
        assert (event.action, event.actor_name) == ("rotate", "oscar")

    def test_without_the_permission(self, client, key):
        client.force_login(officer("ben", permissions=["view_masterkey"], key=key))
        assert client.get(LIST).status_code == 403
        assert client.get(page_url()).status_code == 403
        assert client.get(step_url("rebuild")).status_code == 404
        assert client.get(page_of(key)).context["indexes"] == []

    def test_none_is_changed_otherwise(self, client):
        assert client.post(page_url(), {"state": "reading"}).status_code == 403
        assert row().state == "filling"
        assert not AuditEvent.objects.filter(action="change_index").exists()
