"""Rows of ours with other JSON than this version writes: by a later version, or by hand."""

import json
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connection
from django.utils.timezone import now

from envelope_fields import grants, keyring, rotation
from envelope_fields.census import NotCounted
from envelope_fields.exceptions import EnvelopeError, MasterKeyNotFound, MasterKeyUnusable
from envelope_fields.jobs import ranges
from envelope_fields.jobs.runs import limit
from envelope_fields.jobs.throttle import Limits
from envelope_fields.keyring.index_rows import as_kept, kept_sources
from envelope_fields.lifecycle import create_master_key, rotate_due_keys, rotate_master_key, shred
from envelope_fields.lifecycle.other_processes import (
    key_cache_bound,
    known_everywhere,
    lower_key_cache_bound,
)
from envelope_fields.lifecycle.witnesses import Confirmed, Witnesses
from envelope_fields.models import (
    AuditEvent,
    BlindIndex,
    KeyCacheBound,
    KeyGrant,
    MasterKey,
    MasterKeyVersion,
    RotationKind,
    RotationRun,
)
from envelope_fields.policy import APPLICATION, Action, acting_as
from tests.admin import officer, page_of
from tests.models import TenantNote

pytestmark = pytest.mark.django_db(databases="__all__")

JUNK = [None, True, 5, 1.5, "decrypt", {}, {"decrypt": 1}, [None], [5], [{}], [[]], [["decrypt"]]]
JUNK_IN_TEXT = [*JUNK, ["\ud83d"]]


@pytest.fixture
def key():
    key = create_master_key("tenant")
    TenantNote.objects.create(tenant="tenant", text="a")
    rotate_master_key(key)
    return key


@pytest.fixture
def run(key):
    return rotation.start(key)


def alter(row, name, content):
    """Store any JSON that the database takes; return whether it does."""
    field = row._meta.get_field(name)
    cast = "::jsonb" if connection.vendor == "postgresql" else ""
    quote = connection.ops.quote_name
    set_to = f"{quote(field.column)} = %s{cast} WHERE {quote(row._meta.pk.column)} = %s"
    key = row._meta.pk.get_db_prep_value(row.pk, connection)
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {quote(row._meta.db_table)} SET {set_to}", [json.dumps(content), key]
        )
    keyring.evict()


def lists(content):
    """Leave out what is text for SQLite alone."""
    return [each for each in content if connection.vendor == "sqlite" or each != ["\ud83d"]]


class TestGrants:
    @pytest.fixture
    def user(self, key):
        return officer(key=key)

    @pytest.fixture
    def api(self, client, user):
        client.force_login(user)
        return client

    def test_they_allow_nothing(self, key, user):
        row = key.grants.get()
        for content in lists(JUNK_IN_TEXT):
            alter(row, "actions", content)
            with acting_as(user), pytest.raises(EnvelopeError, match="may not"):
                _ = TenantNote.objects.get().text

    def test_they_are_shown_and_revoked(self, key, user, api):
        root = officer("root", is_superuser=True)
        row = grants.grant(key, root, ["decrypt"], actor=APPLICATION)
        for content in lists(JUNK_IN_TEXT):
            alter(row, "actions", content)
            assert str(KeyGrant.objects.get(pk=row.pk))
            assert api.get(f"/api/v1/keys/{key.pk}/grants/{row.pk}/").status_code == 200
            assert api.get(page_of(key)).status_code == 200
            call_command("list_grants", stdout=StringIO())
        grants.revoke(row, actor=user)
        assert not KeyGrant.objects.filter(pk=row.pk).exists()

    def test_what_a_later_version_grants_besides(self, key, user):
        alter(key.grants.get(), "actions", ["decrypt", "a_new_action", {"new": "form"}])
        with acting_as(user):
            assert TenantNote.objects.get().text == "a"
        assert "a_new_action" in str(key.grants.get())
        assert key.grants.get().actions == ["decrypt", "a_new_action", '{"new": "form"}']
        assert MasterKey.objects.filter(grants=None).values_list("grants__actions").first() == (
            None,
        )

    def test_another_is_granted(self, key):
        other = officer("other")
        alter(grants.grant(key, other, ["decrypt"], actor=APPLICATION), "actions", [{}])
        made = grants.grant(key, other, [Action.DECRYPT], actor=APPLICATION)
        assert made.actions == ["decrypt"]


class TestRuns:
    @pytest.mark.parametrize("name", ["only_versions", "only_fields"])
    def test_nothing_but_what_was_asked_for_is_moved(self, run, name):
        for content in lists(JUNK):
            alter(run, name, content)
            with pytest.raises((MasterKeyNotFound, EnvelopeError)):
                rotation.run(RotationRun.objects.get())
            RotationRun.objects.update(state="pending", error="")
        assert rotation.cancel(run).state == "cancelled"

    def test_they_are_shown(self, key, run, client):
        client.force_login(officer(key=key))
        for name in ("only_versions", "only_fields", "limits"):
            for content in lists(JUNK_IN_TEXT if name == "only_fields" else JUNK):
                alter(run, name, content)
                assert client.get(f"/api/v1/rotations/{run.pk}/").status_code == 200
                page = f"/admin/envelope_fields/rotationrun/{run.pk}/change/"
                assert client.get(page).status_code == 200
                call_command("rotation_runs", stdout=StringIO())

    @pytest.mark.parametrize("kind", [RotationKind.CONVERT, RotationKind.REBUILD_INDEX])
    def test_about_a_field_that_is_not_named(self, run, kind):
        RotationRun.objects.update(kind=kind)
        alter(run, "only_fields", [])
        with pytest.raises(MasterKeyUnusable, match="Cancel the run"):
            rotation.run(RotationRun.objects.get())

    def test_limits_that_are_not_known(self, run):
        for content in (
            *JUNK,
            {"batch_size": "x", "tries": 1.5, "max_rate": -1},
            {"batch_size": 2.5, "sleep": [], "lock_seconds": 0, "nice_ratio": {}},
            {"of_a_later_version": 1},
        ):
            alter(run, "limits", content)
            assert Limits.kept(RotationRun.objects.get().limits) == Limits()
        assert rotation.run(RotationRun.objects.get()).state == "completed"

    def test_limits_that_are_known_beside_others(self, run):
        alter(run, "limits", {"max_rate": 5, "tries": None, "new": 1})
        assert Limits.kept(RotationRun.objects.get().limits) == Limits(max_rate=5)
        limit(run, Limits(max_rate=6))
        assert RotationRun.objects.get().limits == Limits(max_rate=6).as_json()


@pytest.mark.parametrize(
    "text", ["x", "5", "{}", '[{"uuid": 1}]', '[{"a": "b"}]', "[{}]", '{"a": 1}']
)
def test_where_a_range_ends(text):
    with pytest.raises(EnvelopeError, match="Cancel the run"):
        ranges.key_from_text(text)


@pytest.mark.parametrize("seconds", [1e300, -5.0, 86_400.0])
def test_for_how_long_processes_go_by_what_they_know(seconds):
    KeyCacheBound.objects.update_or_create(pk=1, defaults={"seconds": 60})
    KeyCacheBound.objects.update(seconds=seconds, seconds_before=seconds, lowered_at=now())
    assert timedelta(hours=23) < known_everywhere(now()) - now() < timedelta(hours=25)
    assert lower_key_cache_bound(60) == 60
    assert key_cache_bound() == 60


SOURCE = {"labels": ["a.b.c"], "path": "", "type": ""}


def test_what_an_index_is_made_of():
    row = BlindIndex(label="a.b.d", sources=[SOURCE])
    assert as_kept(kept_sources(row)) == [SOURCE]
    for changed in ({"labels": "abc"}, {"labels": []}, {"labels": [5]}, {"labels": {"a": 1}},
                    {"path": None}, {"type": []}):  # fmt: skip
        row.sources = [SOURCE, {**SOURCE, **changed}]
        assert kept_sources(row) == (), changed
    for content in JUNK:
        row.sources = content
        assert kept_sources(row) == ()


class TestEvents:
    @pytest.fixture(autouse=True)
    def altered(self, monkeypatch):
        """Have events hold what the database keeps from being written."""
        return lambda content: monkeypatch.setattr(
            AuditEvent, "after", property(lambda event: content, lambda event, value: None)
        )

    def test_the_certificate(self, altered):
        key = create_master_key("shredded")
        shred(key)
        for content in (*JUNK, {"name": "x"}):
            altered(content)
            with pytest.raises(EnvelopeError, match="verify_audit_trail"):
                shred(key)

    def test_what_was_known_when_a_deletion_was_confirmed(self, key):
        used = key.created_at
        unseen = (NotCounted("default", "a table", "it is not there"),)
        now = Witnesses(key, used, used, (), unseen)
        for content in (*JUNK, {"not_counted": 5}, {"last_use_by_kms": 5}):
            found = Confirmed(used, content).later(now)
            assert found
            assert "verify_audit_trail" in found[0] or "counted" in found[-1]


class TestAKeyWhoseVersionsAreGone:
    """It is shown, and takes no other key along."""

    @pytest.fixture(autouse=True)
    def _gone(self, key):
        other = create_master_key("a-first", rotation_period=90)
        MasterKey.objects.filter(pk=key.pk).update(rotation_period=90)
        moved = MasterKeyVersion.objects.filter(master_key=key).order_by("number")
        for number, version in enumerate(moved, 2):
            rows = MasterKeyVersion.objects.filter(pk=version.pk)
            rows.update(master_key=other, number=number)
        MasterKeyVersion.objects.update(created_at=now() - timedelta(days=91))

    def test_in_lists(self, key, client):
        client.force_login(officer(key=key))
        listed = client.get("/api/v1/keys/").json()["results"]
        shown = {each["alias"]: each["current_version"] for each in listed}
        assert shown["tenant"] is None
        assert shown["default"] == 1
        assert client.get("/admin/envelope_fields/masterkey/").status_code == 200
        output = StringIO()
        call_command("list_master_keys", "--json", stdout=output)
        listed = {each["alias"]: each for each in json.loads(output.getvalue())}
        assert listed["tenant"]["rotated_at"] is None
        assert listed["tenant"]["versions"] == []
        assert len(listed["a-first"]["versions"]) == 3

    def test_where_all_that_are_due_are_rotated(self, key):
        done = rotate_due_keys()
        assert [version.master_key.alias for version in done.rotated] == ["a-first"]
        [refused] = done.refused
        assert refused.row == key
        assert "the rows are gone" in str(refused)


def test_a_version_of_the_end_of_time_keeps_no_other_key_from_rotation(key):
    create_master_key("due", rotation_period=90)
    MasterKey.objects.filter(pk=key.pk).update(rotation_period=90)
    MasterKeyVersion.objects.update(created_at=now() - timedelta(days=91))
    end = datetime(9999, 12, 31, 12, tzinfo=UTC)
    MasterKeyVersion.objects.filter(master_key=key).update(created_at=end)
    assert [version.master_key.alias for version in rotate_due_keys().rotated] == ["due"]
