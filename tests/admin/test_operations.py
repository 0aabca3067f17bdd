"""Acts from the admin: asked before, done once, refused with a reason, and always in the trail."""

import uuid
from datetime import timedelta
from types import ModuleType

import pytest
from django.conf import settings as project
from django.contrib.admin import AdminSite, site as default_site
from django.contrib.auth.models import Group, User
from django.db import connection, connections
from django.urls import path, reverse
from django.utils import timezone

from envelope_fields import kms, rotation
from envelope_fields.admin import grants, operations
from envelope_fields.admin.events import AuditEventAdmin
from envelope_fields.admin.keys import MasterKeyAdmin
from envelope_fields.admin.rotations import RotationRunAdmin
from envelope_fields.audit import uses as key_uses
from envelope_fields.census import NotCounted
from envelope_fields.exceptions import EnvelopeError
from envelope_fields.grants import grant
from envelope_fields.lifecycle import (
    Operation,
    create_master_key,
    disable,
    rotate_master_key,
    schedule_deletion,
    update_master_key,
    witnesses,
)
from envelope_fields.models import AuditEvent, KeyGrant, MasterKey, RotationRun
from envelope_fields.policy import Action
from tests.admin import last_event, officer, page_of, said
from tests.models import TenantNote
from tests.root_keys.backends import WrapsAlone, entry as backend

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(databases="__all__")]


def url(act, key, number=None):
    if number is None:
        return reverse("admin:envelope_fields_masterkey_operation", args=[key.pk, act])
    return reverse("admin:envelope_fields_masterkey_version_operation", args=[key.pk, number, act])


OPERATIONS = [
    "rotate",
    "enable",
    "disable",
    "move_alias",
    "schedule_deletion",
    "cancel_deletion",
    "shred",
]


class TestWithoutTheRight:
    @pytest.mark.parametrize("act", OPERATIONS)
    def test_without_the_permission(self, client, key, act):
        client.force_login(officer("rita", permissions=["view_masterkey"], key=key))
        assert client.get(url(act, key)).status_code == 403
        assert client.post(url(act, key), {"confirm": "tenant"}).status_code == 403
        event = last_event()
        assert (event.outcome, event.actor_name, event.key_id) == ("denied", "rita", key.pk)
        key.refresh_from_db()
        assert (key.state, key.versions.count()) == ("enabled", 1)

    @pytest.mark.parametrize("act", OPERATIONS)
    def test_without_the_grant(self, client, key, act):
        client.force_login(officer("rita", key=key, actions=[Action.DESCRIBE]))
        assert client.get(url(act, key)).status_code == 403
        assert client.post(url(act, key), {"confirm": "tenant"}).status_code == 403
        event = last_event()
        assert (event.outcome, event.actor_name) == ("denied", "rita")
        key.refresh_from_db()
        assert (key.state, key.versions.count()) == ("enabled", 1)

    def test_a_key_that_one_may_not_see(self, client, key):
        client.force_login(officer("rita"))
        assert client.post(url("rotate", key)).status_code == 403
        assert key.versions.count() == 1
        assert (last_event().outcome, last_event().action) == ("denied", "describe")

    def test_without_any_permission(self, client, key):
        client.force_login(officer("rita", permissions=[], key=key))
        assert client.post(url("rotate", key)).status_code == 403
        assert (last_event().outcome, last_event().actor_name) == ("denied", "rita")
        unknown = reverse(
            "admin:envelope_fields_masterkey_operation", args=[uuid.uuid4(), "rotate"]
        )
        assert client.post(unknown).status_code == 403

    def test_nobody(self, client, key):
        client.logout()
        assert client.post(url("rotate", key)).status_code == 302
        assert key.versions.count() == 1

    def test_no_token_no_act(self, key):
        from django.test import Client

        forged = Client(enforce_csrf_checks=True)
        forged.force_login(officer("oscar", key=key))
        assert forged.post(url("rotate", key)).status_code == 403
        assert forged.post(page_of(key), {"description": "x"}).status_code == 403
        assert key.versions.count() == 1


@pytest.mark.parametrize("act", ["rotate", "disable", "move_alias", "schedule_deletion", "shred"])
def test_asking_changes_nothing(client, key, act):
    events = AuditEvent.objects.count()
    assert client.get(url(act, key)).status_code == 200
    key.refresh_from_db()
    assert (key.state, key.versions.count(), key.alias) == ("enabled", 1, "tenant")
    assert AuditEvent.objects.count() == events


def test_rotate(client, key):
    TenantNote.objects.create(tenant="tenant", text="a", data={})
    page = client.get(url("rotate", key))
    assert "2 stored values stay where they are" in page.text
    response = client.post(url("rotate", key), follow=True)
    assert said(response) == ["tenant was rotated: version 2 is current."]
    assert key.versions.count() == 2
    assert (last_event().action, last_event().actor_name) == ("rotate", "olga")


@pytest.mark.django_db(transaction=True, databases="__all__")
def test_a_version_that_no_process_has_opened(client, settings, monkeypatch):
    monkeypatch.setattr(WrapsAlone, "may_unwrap", True)
    settings.ENVELOPE_FIELDS = {"ROOT_KEYS": {"default": backend("WrapsAlone")}}
    key = create_master_key("lab")
    client.force_login(officer("rita", key=key))
    monkeypatch.setattr(WrapsAlone, "may_unwrap", False)
    response = client.post(url("rotate", key), follow=True)
    assert "has version 2, which this process may not open" in said(response)[0]
    assert "open_master_key_versions" in said(response)[0]
    page = client.get(page_of(key)).text
    assert "enabled, not opened yet: run open_master_key_versions where the root key may" in page
    assert page.count("enabled, current") == 1
    assert "Version 3 is made" in client.get(url("rotate", key)).text


def test_what_wraps_a_version(client, key):
    MasterKey.objects.filter(pk=key.pk).update(root_key="hsm")
    key.versions.update(wrapping_key_id="lab-wrapping/5")
    page = client.get(page_of(key)).text
    assert "default (<code>lab-wrapping/5</code>)" in page
    assert "not opened yet" not in page
    assert '<th scope="col">First opened</th>' in page
    assert '<div class="readonly">hsm</div>' in page


def test_disable_and_enable(client, key):
    note = TenantNote.objects.create(tenant="tenant", text="a")
    assert "1 stored value cannot be read" in client.get(url("disable", key)).text
    client.post(url("disable", key))
    with pytest.raises(EnvelopeError):
        note.refresh_from_db()
    assert "enable" in client.get(page_of(key)).text
    client.post(url("enable", key))
    note.refresh_from_db()
    assert note.text == "a"


def test_one_that_has_no_page_of_its_own(client, key, monkeypatch):
    """It is asked about in the words of the registry."""
    monkeypatch.delitem(operations._PAGES, Operation.DISABLE)
    page = client.get(url("disable", key)).text
    assert "Afterwards, tenant is disabled." in page
    assert 'value="Disable"' in page
    assert said(client.post(url("disable", key), follow=True)) == ["tenant is disabled."]
    key.refresh_from_db()
    assert key.state == "disabled"


def test_a_version_alone(client, key):
    rotate_master_key(key)
    page = client.get(page_of(key)).text
    assert url("disable", key, 1) in page
    assert url("disable", key, 2) not in page  # it is the current one
    client.post(url("disable", key, 1))
    assert [version.state for version in key.versions.order_by("number")] == ["disabled", "enabled"]
    response = client.post(url("disable", key, 2), follow=True)
    assert "is the current one" in said(response)[-1]
    assert client.post(url("rotate", key, 1)).status_code == 404
    assert client.get(url("disable", key, 9)).status_code == 404


class TestDeletion:
    @pytest.mark.parametrize("use_tz", [True, False])
    def test_there_and_back(self, client, key, settings, use_tz):
        settings.USE_TZ = use_tz
        page = client.get(url("schedule_deletion", key)).text
        assert "No stored value is under it" in page
        client.post(url("schedule_deletion", key), {"days": "7"})
        key.refresh_from_db()
        assert key.state == "pending_deletion"
        assert timedelta(days=6) < key.deletion_at - timezone.now() <= timedelta(days=7)
        client.post(url("cancel_deletion", key))
        key.refresh_from_db()
        assert (key.state, key.deletion_at) == ("disabled", None)

    def test_values_are_in_the_way(self, client, key):
        TenantNote.objects.create(tenant="tenant", text="a")
        page = client.get(url("schedule_deletion", key)).text
        assert "1 stored value would be lost" in page
        assert 'name="days"' not in page
        response = client.post(url("schedule_deletion", key), {"days": "7"}, follow=True)
        assert "tests.TenantNote.text" in said(response)[0]
        key.refresh_from_db()
        assert key.state == "enabled"

    @pytest.mark.parametrize("days", ["", "6", "31", "x"])
    def test_another_period(self, client, key, days):
        page = client.post(url("schedule_deletion", key), {"days": days})
        assert page.context["form"].errors
        key.refresh_from_db()
        assert key.state == "enabled"

    def test_what_kms_gave_out_takes_a_name_and_the_last_use(self, client, key):
        kms.encrypt("tenant", b"a", {})
        page = client.get(url("schedule_deletion", key))
        expected = f"tenant@{key_uses.last_use_by_kms(key):%Y-%m-%dT%H:%M:%SZ}"
        assert "gave out data under it" in page.text
        assert 'name="confirm"' in page.text
        assert f"Type {expected} to confirm." in page.text
        for other in ("default", "tenant"):
            client.post(url("schedule_deletion", key), {"days": "7", "confirm": other})
            key.refresh_from_db()
            assert key.state == "enabled"
        client.post(url("schedule_deletion", key), {"days": "7", "confirm": expected})
        key.refresh_from_db()
        assert key.state == "pending_deletion"

    def test_uses_by_fields_are_shown(self, client, key):
        TenantNote.objects.create(tenant="tenant", text="a").delete()
        page = client.get(url("schedule_deletion", key)).text
        assert f"last used on {key_uses.last_use(key):%Y-%m-%dT%H:%M:%SZ}" in page
        assert 'name="confirm"' not in page

    def test_what_was_not_counted_is_named(self, client, key, monkeypatch):
        place = NotCounted("default", "clinic_patient", "it is a view")
        looks = []
        monkeypatch.setattr(witnesses, "not_counted", lambda: looks.append(1) or [place])
        page = client.get(url("schedule_deletion", key)).text
        assert "Not counted: clinic_patient" in page
        assert looks == [1]
        client.post(url("schedule_deletion", key), {"days": "7", "confirm": "tenant"})
        key.refresh_from_db()
        assert key.state == "pending_deletion"

    def test_what_is_not_possible_says_why(self, client, key):
        response = client.get(url("cancel_deletion", key), follow=True)
        assert "there is nothing to do" in said(response)[0]
        schedule_deletion(key)
        response = client.post(url("rotate", key), follow=True)
        assert "pending deletion" in said(response)[0]


class TestShredding:
    @pytest.fixture(autouse=True)
    def known_at_once(self, settings):
        settings.ENVELOPE_FIELDS = {**project.ENVELOPE_FIELDS, "KEY_CACHE_SECONDS": 0}

    def confirmed(self, client, key, **changes):
        form = client.get(url("shred", key)).context["form"]
        import json

        data = {"confirm": "tenant", "counted": json.dumps(form.initial["counted"]), **changes}
        return client.post(url("shred", key), data, follow=True)

    @pytest.mark.parametrize("use_tz", [True, False])
    def test_in_two_steps(self, client, key, settings, use_tz):
        settings.USE_TZ = use_tz
        TenantNote.objects.create(tenant="tenant", text="a", data={})
        asked = client.get(url("shred", key))
        assert "Step 1 of 2" in asked.text
        assert all(asked.context["consequences"])  # no line is empty
        self.confirmed(client, key)
        key.refresh_from_db()
        assert key.state == "disabled"
        page = client.get(url("shred", key)).text
        assert "Step 2 of 2" in page
        assert "2 stored values" in page
        response = self.confirmed(client, key)
        assert "together with 2 stored values" in said(response)[0]
        key.refresh_from_db()
        assert (key.state, key.alias) == ("destroyed", None)
        event = last_event()
        assert (event.action, event.after["total"], event.actor_name) == ("shred", 2, "olga")
        assert client.get(page_of(key)).status_code == 200

    def test_another_name(self, client, key):
        self.confirmed(client, key, confirm="default")
        key.refresh_from_db()
        assert key.state == "enabled"

    def test_more_values_than_were_shown(self, client, key):
        import json

        TenantNote.objects.create(tenant="tenant", text="a")
        shown = client.get(url("shred", key)).context["form"].initial["counted"]
        TenantNote.objects.create(tenant="tenant", text="b")
        disable(key)
        data = {"confirm": "tenant", "counted": json.dumps(shown)}
        response = client.post(url("shred", key), data, follow=True)
        assert "More values" in said(response)[0]
        key.refresh_from_db()
        assert key.state == "disabled"

    @pytest.mark.parametrize(
        "counted", ["", "x", "1", "[1]", '[["a"]]', '[["a", "b", "c", 1e400]]']
    )
    def test_numbers_that_are_none(self, client, key, counted):
        page = self.confirmed(client, key, counted=counted)
        assert page.status_code == 200
        key.refresh_from_db()
        assert key.state == "enabled"

    def test_too_early(self, client, key, settings):
        settings.ENVELOPE_FIELDS = {**project.ENVELOPE_FIELDS, "KEY_CACHE_SECONDS": 60}
        self.confirmed(client, key)
        self.confirmed(client, key)
        key.refresh_from_db()
        assert key.state == "disabled"


def test_move_alias(client, key):
    client.post(url("move_alias", key), {"alias": "renamed"})
    key.refresh_from_db()
    assert key.alias == "renamed"
    response = client.post(url("move_alias", key), {"alias": "not an alias"})
    assert response.context["form"].errors


class TestGrants:
    def add(self, key):
        return reverse("admin:envelope_fields_masterkey_grant", args=[key.pk])

    def revoke(self, row):
        return reverse("admin:envelope_fields_masterkey_revoke", args=[row.master_key_id, row.pk])

    def test_granting(self, client, key):
        bob = officer("bob", permissions=[])
        data = {
            "kind": "user",
            "name": "bob",
            "actions": ["decrypt"],
            "context": "tests.tenantnote",
        }
        response = client.post(self.add(key), data)
        assert response.status_code == 302, response.context["form"].errors
        row = KeyGrant.objects.get(principal_id=str(bob.pk))
        assert (row.actions, row.context) == (["decrypt"], "tests.tenantnote")
        assert (last_event().action, last_event().actor_name) == ("create_grant", "olga")
        assert "bob" in client.get(page_of(key)).text

    @pytest.mark.parametrize(
        "wrong",
        [
            {"name": "nobody"},
            {"actions": ["fly"]},
            {"actions": []},
            {"context": "no.model"},
            {"expires_at_0": "2001-01-01", "expires_at_1": "00:00"},
            {"kind": "x"},
        ],
    )
    def test_bad_input_grants_nothing(self, client, key, wrong):
        officer("bob")
        data = {"kind": "user", "name": "bob", "actions": ["decrypt"], **wrong}
        page = client.post(self.add(key), data)
        assert page.status_code == 200
        assert page.context["form"].errors
        assert KeyGrant.objects.count() == 1

    def test_to_a_user_who_is_deleted_meanwhile(self, client, key, monkeypatch):
        bob = officer("bob")
        User.objects.filter(pk=bob.pk).delete()
        monkeypatch.setattr(grants, "named_grantee", lambda kind, name: bob)
        page = client.post(self.add(key), {"kind": "user", "name": "bob", "actions": ["decrypt"]})
        assert page.context["form"].non_field_errors() == ["There is no user bob any more."]
        assert KeyGrant.objects.count() == 1

    def test_revoking(self, client, key):
        bob = officer("bob")
        row = grant(key, bob, ["decrypt"])
        assert "bob may no longer: decrypt" in client.get(self.revoke(row)).text
        client.post(self.revoke(row))
        assert not KeyGrant.objects.filter(pk=row.pk).exists()
        assert last_event().action == "revoke_grant"

    def test_the_last_one_takes_a_name(self, client, key):
        row = KeyGrant.objects.get()
        page = client.post(self.revoke(row))
        assert page.context["form"].errors
        assert KeyGrant.objects.filter(pk=row.pk).exists()
        client.post(self.revoke(row), {"override": "tenant"})
        assert not KeyGrant.objects.filter(pk=row.pk).exists()

    def test_without_the_right(self, client, key):
        row = KeyGrant.objects.get()
        actions = [Action.DESCRIBE, Action.ROTATE]
        client.force_login(officer("rita", key=key, actions=actions))
        assert client.post(self.add(key), {"kind": "user"}).status_code == 403
        assert client.post(self.revoke(row), {"override": "tenant"}).status_code == 403
        assert KeyGrant.objects.filter(pk=row.pk).exists()

    def test_of_another_key(self, client, key):
        other = create_master_key("other")
        row = grant(other, officer("bob"), ["decrypt"])
        url = reverse("admin:envelope_fields_masterkey_revoke", args=[key.pk, row.pk])
        assert client.post(url).status_code == 404
        assert KeyGrant.objects.filter(pk=row.pk).exists()


def test_an_unknown_key(client):
    key = MasterKey(pk=uuid.uuid4())
    assert client.get(url("rotate", key)).status_code == 404
    assert client.get(url("fly", MasterKey.objects.get(alias="default"))).status_code == 404


@pytest.mark.django_db(transaction=True, databases="__all__")
def test_with_a_transaction_around_each_request(client, key, monkeypatch, settings):
    settings.ENVELOPE_FIELDS = {**project.ENVELOPE_FIELDS, "KEY_CACHE_SECONDS": 0}
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)
    client.post(url("rotate", key))
    assert key.versions.count() == 2
    for _ in range(2):
        client.post(url("shred", key), {"confirm": "tenant", "counted": "[]"})
    key.refresh_from_db()
    assert key.state == "destroyed"
    client.force_login(officer("rita", permissions=["view_masterkey"]))
    default = MasterKey.objects.get(alias="default")
    assert client.post(url("rotate", default)).status_code == 403
    assert last_event().outcome == "denied"


@pytest.mark.django_db(transaction=True, databases="__all__")
def test_keys_in_a_database_of_their_own_with_transactions_around_requests(
    client, monkeypatch, settings
):
    """Their changes are transactions of their own, which take none around them."""
    for alias in ("default", "other"):
        monkeypatch.setitem(connections[alias].settings_dict, "ATOMIC_REQUESTS", True)
    settings.ENVELOPE_FIELDS = {**project.ENVELOPE_FIELDS, "DATABASE": "other"}
    settings.ROOT_URLCONF = _urls_of_a_new_site()
    key = create_master_key("vault")
    olga = officer("vera", key=key)
    client.force_login(olga)
    new = {"alias": "new", "description": "", "application_use": "on"}
    given = {"kind": "user", "name": "vera", "actions": ["decrypt"]}
    grants = KeyGrant.objects.using("other").filter(master_key=key)
    for address, data in (
        (reverse("admin:envelope_fields_masterkey_add"), new),
        (page_of(key), {"description": "changed", "application_use": "on"}),
        (url("rotate", key), {}),
        (reverse("admin:envelope_fields_masterkey_grant", args=[key.pk]), given),
    ):
        assert client.post(address, data).status_code == 302
    revoke = [key.pk, grants.get(actions=["decrypt"]).pk]
    client.post(reverse("admin:envelope_fields_masterkey_revoke", args=revoke))
    assert MasterKey.objects.using("other").filter(alias="new").exists()
    key.refresh_from_db()
    assert (key.description, key.current_version.number, grants.count()) == ("changed", 2, 1)


@pytest.mark.parametrize("models", [[MasterKey], [MasterKey, AuditEvent, RotationRun]])
def test_on_a_site_of_its_own(client, key, settings, models):
    """No address leads to another admin site, nor to what this one does not have."""
    settings.ROOT_URLCONF = _urls_of_a_new_site("officers", models)
    run = rotation.start(key)
    for name, *args in (
        ("masterkey_changelist",),
        ("masterkey_add",),
        ("masterkey_change", key.pk),
        ("masterkey_operation", key.pk, "rotate"),
        ("masterkey_grant", key.pk),
    ):
        page = client.get(reverse(f"officers:envelope_fields_{name}", args=args))
        assert page.status_code == 200
        assert '="/officers/' in page.text
        assert '="/admin/' not in page.text
        is_shown = name == "masterkey_change" and AuditEvent in models
        assert ("All events of this key" in page.text) == is_shown
        assert (f'"/officers/envelope_fields/rotationrun/{run.pk}/change/' in page.text) == is_shown


ADMINS = {
    MasterKey: MasterKeyAdmin,
    AuditEvent: AuditEventAdmin,
    RotationRun: RotationRunAdmin,
}


def _urls_of_a_new_site(name="admin", models=tuple(ADMINS)):
    """An admin site whose addresses are made with the settings as they are now."""
    site = AdminSite(name)
    for model in models:
        site.register([model], ADMINS[model])
    urls = ModuleType("tests.admin.urls_of_a_new_site")
    urls.urlpatterns = [path(f"{name}/", site.urls)]
    if name != "admin":
        urls.urlpatterns.append(path("admin/", default_site.urls))
    return urls


def hidden(response):
    """Return what a page carries of what it showed."""
    return {"shown": response.context["shown"]}


def has_refused(response):
    assert "has changed since this page was shown" in response.text
    return True


class TestStalePages:
    """A page carries what it showed, as `If-Match` does, and what has changed since is refused."""

    def test_one_that_is_sent_twice(self, client, key):
        seen = hidden(client.get(url("rotate", key)))
        assert client.post(url("rotate", key), seen).status_code == 302
        again = client.post(url("rotate", key), seen, follow=True)
        assert has_refused(again)
        assert again.redirect_chain == [(url("rotate", key), 302)]
        assert key.versions.count() == 2
        client.post(url("rotate", key), hidden(again))
        assert key.versions.count() == 3

    @pytest.mark.parametrize("act", ["rotate", "disable", "move_alias", "schedule_deletion"])
    def test_of_two_officers(self, client, key, act):
        seen = hidden(client.get(url(act, key)))
        update_master_key(key, description="Of another tenant")
        events = AuditEvent.objects.count()
        answer = client.post(url(act, key), {**seen, "alias": "other", "days": 7}, follow=True)
        assert has_refused(answer)
        key.refresh_from_db()
        assert (key.state, key.alias, key.versions.count()) == ("enabled", "tenant", 1)
        assert AuditEvent.objects.count() == events

    def test_of_a_version(self, client, key):
        rotate_master_key(key)
        seen = hidden(client.get(url("disable", key, 1)))
        client.post(url("disable", key, 1), seen)
        assert has_refused(client.post(url("disable", key, 1), seen, follow=True))

    def test_of_the_key_itself(self, client, key):
        seen = hidden(client.get(page_of(key)))
        update_master_key(key, description="Theirs")
        mine = {"description": "Mine", "application_use": "on"}
        wrong = client.post(page_of(key), {**mine, **seen, "rotation_period": "1"})
        assert hidden(wrong) == seen
        assert has_refused(client.post(page_of(key), {**mine, **seen}, follow=True))
        key.refresh_from_db()
        assert key.description == "Theirs"
        client.post(page_of(key), {**mine, **hidden(client.get(page_of(key)))})
        key.refresh_from_db()
        assert key.description == "Mine"


class TestWhoSeesGrants:
    @pytest.mark.parametrize("permission", ["view_keygrant", "delete_keygrant"])
    def test_only_with_the_permission(self, client, key, permission):
        bob = officer("bobby", permissions=[])
        row = grant(key, bob, ["decrypt"])
        client.force_login(officer("rita", permissions=["view_masterkey", permission], key=key))
        is_shown = permission == "view_keygrant"
        assert ("bobby" in client.get(page_of(key)).text) is is_shown
        assert ("envelope-grants" in client.get(page_of(key)).text) is is_shown
        address = reverse("admin:envelope_fields_masterkey_revoke", args=[key.pk, row.pk])
        assert client.get(address).status_code == (403 if is_shown else 200)
        assert "bobby" not in client.get(address).text


class TestNames:
    """They match exactly, on each database."""

    @pytest.mark.parametrize(
        ("kind", "name", "is_there"),
        [("user", "bob", 1), ("user", "BOB", 0), ("group", "nurses", 1), ("group", "Nurses", 0)],
    )
    def test_of_those_who_are_granted_rights(self, client, key, kind, name, is_there):
        officer("bob", permissions=[])
        Group.objects.create(name="nurses")
        address = reverse("admin:envelope_fields_masterkey_grant", args=[key.pk])
        client.post(address, {"kind": kind, "name": name, "actions": ["decrypt"]})
        assert KeyGrant.objects.filter(actions=["decrypt"]).count() == is_there
