"""The list of keys, and the page of each."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from envelope_fields.lifecycle import create_master_key, disable, rotate_master_key
from envelope_fields.models import AuditEvent, KeyGrant, MasterKey, MasterKeyVersion
from envelope_fields.policy import Action
from tests.admin import officer, page_of, said
from tests.models import Note, TenantNote
from tests.sizes import size

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(databases="__all__")]

LIST = reverse("admin:envelope_fields_masterkey_changelist")
ADD = reverse("admin:envelope_fields_masterkey_add")


@pytest.fixture
def key():
    return create_master_key("tenant", description="Of a tenant", rotation_period=90)


class TestList:
    def test_what_it_shows(self, client, key):
        TenantNote.objects.create(tenant="tenant", text="a", data={})
        rotate_master_key(key)
        TenantNote.objects.create(tenant="tenant", text="b")
        page = client.get(LIST)
        row = page.context["cl"].result_list.get(pk=key.pk)
        assert row.version_count == 2
        due = row.rotated_at + timedelta(days=90)
        assert abs(row.due_at - due) < timedelta(seconds=1)  # SQLite computes milliseconds
        assert ">tenant</a>" in page.text
        cells = page.text[page.text.index(">tenant</a>") :]
        assert '<td class="field-values">3</td><td class="field-oldest">1</td>' in cells

    def test_only_what_the_user_may_describe(self, client, key):
        other = create_master_key("somebody-else-s")
        page = client.get(LIST)
        assert "somebody-else-s" not in page.text
        assert ">default</a>" in page.text  # the application's, which everybody uses
        assert client.get(page_of(other)).status_code in (302, 403)

    def test_filters_and_search(self, client, user, key):
        other = create_master_key("other", actor=user)
        disable(other)
        MasterKeyVersion.objects.filter(master_key=key).update(
            created_at=timezone.now() - timedelta(days=91)
        )

        def found(query):
            return {str(row) for row in client.get(LIST, query).context["cl"].result_list}

        assert found({"q": "Of a ten"}) == {"tenant"}
        assert found({"state": "disabled"}) == {"other"}
        assert found({"rotation": "due"}) == {"tenant"}
        assert found({"rotation": "demand"}) == {"default", "other"}

    @pytest.mark.parametrize("order", ["1", "4", "6", "-7"])
    def test_sorting(self, client, order):
        assert client.get(LIST, {"o": order}).status_code == 200

    @pytest.mark.long
    def test_queries_do_not_grow_with_the_keys(self, client, user):
        client.get(LIST)
        with CaptureQueriesContext(
            connection,
        ) as few:
            client.get(LIST)
        number_of_keys = size(500, 10_000)  # of which a page has a hundred
        keys = MasterKey.objects.bulk_create(
            MasterKey(alias=f"bulk/{number}") for number in range(number_of_keys)
        )
        MasterKeyVersion.objects.bulk_create(
            MasterKeyVersion(
                master_key=each, number=1, version_id=number.to_bytes(8, "big"),
                wrapped_material=b"x", root_key="default",
            )
            for number, each in enumerate(keys)
        )  # fmt: skip
        KeyGrant.objects.bulk_create(
            KeyGrant(
                master_key=each, principal_type="auth.user", principal_id=str(user.pk),
                actions=["describe"],
            )
            for each in keys
        )  # fmt: skip
        with CaptureQueriesContext(connection) as many:
            page = client.get(LIST)
        assert page.context["cl"].result_count == number_of_keys + 2
        assert len(many) <= len(few)

    def test_nothing_can_be_deleted(self, client, key):
        assert "delete_selected" not in client.get(LIST).text
        url = reverse("admin:envelope_fields_masterkey_delete", args=[key.pk])
        assert client.post(url, {"post": "yes"}).status_code == 403
        key.refresh_from_db()


class TestPage:
    def test_what_it_shows(self, client, key):
        TenantNote.objects.create(tenant="tenant", text="a", data={})
        rotate_master_key(key)
        page = client.get(page_of(key)).text
        for version in key.versions.all():
            assert bytes(version.version_id).hex() in page
        assert "<svg" in page
        assert "tests.TenantNote.text" in page
        assert "2 stored values are under this key" in page
        assert "olga" in page
        assert "create_key" in page

    def test_no_material(self, client, key):
        page = client.get(page_of(key)).text + client.get(LIST).text
        wrapped = bytes(key.versions.get().wrapped_material)
        assert wrapped.hex() not in page
        assert "wrapped" not in page.lower().replace("the wrapped key", "")

    def test_many_versions_take_few_queries(self, client, key):
        with CaptureQueriesContext(connection) as few:
            client.get(page_of(key))
        for _ in range(5):
            rotate_master_key(key)
        with CaptureQueriesContext(connection) as many:
            client.get(page_of(key))
        assert len(many) <= len(few)

    def test_one_whose_versions_are_gone_leads_to_the_list(self, client, key):
        key.versions.all()._raw_delete("default")
        page = client.get(page_of(key), follow=True)
        assert page.redirect_chain == [(LIST, 302)]
        [message] = said(page)
        assert "Restore them from a backup" in message
        client.post(page_of(key), {"description": "Another"})
        assert len(said(client.get(LIST))) == 1

    def test_changing_what_it_says(self, client, key):
        data = {"description": "New", "rotation_period": "365", "application_use": ""}
        response = client.post(page_of(key), data)
        assert response.status_code == 302, response.context["errors"]
        key.refresh_from_db()
        assert (key.description, key.rotation_period, key.application_use) == ("New", 365, False)
        event = AuditEvent.objects.latest("number")
        assert (event.action, event.actor_name) == ("update_key", "olga")
        assert event.after["rotation_period"] == 365

    def test_a_stale_form_writes_no_state_back(self, client, key):
        data = {"description": "x", "application_use": "on", "state": "enabled", "alias": "y"}
        disable(key)
        client.post(page_of(key), data)
        key.refresh_from_db()
        assert (key.state, key.alias) == ("disabled", "tenant")

    def test_a_bad_period(self, client, key):
        page = client.post(page_of(key), {"rotation_period": "7", "application_use": "on"})
        assert "90" in str(page.context["errors"])
        key.refresh_from_db()
        assert key.rotation_period == 90

    def test_making_one(self, client, user):
        data = {"alias": "lab", "description": "d", "application_use": "on", "_save": "Save"}
        response = client.post(ADD, data)
        assert response.status_code == 302
        made = MasterKey.objects.get(alias="lab")
        assert made.current_version.number == 1
        assert KeyGrant.objects.get(master_key=made).principal_id == str(user.pk)
        event = AuditEvent.objects.get(action="create_key", key_id=made.pk)
        assert event.actor_id == str(user.pk)
        assert client.get(page_of(made)).status_code == 200

    def test_an_alias_that_is_taken(self, client):
        page = client.post(ADD, {"alias": "tenant", "application_use": "on"})
        assert page.status_code == 200
        assert MasterKey.objects.filter(alias="tenant").count() == 1
        assert "Another master key has the alias" in page.text

    def test_an_alias_of_a_key_that_is_not_seen(self, client):
        create_master_key("secret")
        page = client.post(ADD, {"alias": "secret", "application_use": "on"})
        assert page.status_code == 200
        assert "You may not give a key the alias" in page.text
        assert MasterKey.objects.filter(alias="secret").count() == 1


class TestWithoutRights:
    def test_without_permissions_there_is_nothing(self, client, key):
        user = officer("rita", permissions=[], key=key)
        client.force_login(user)
        assert client.get(LIST).status_code == 403
        assert client.get(page_of(key)).status_code == 403

    def test_a_reader_sees_no_buttons(self, client, key):
        user = officer("rita", permissions=["view_masterkey"], key=key, actions=["describe"])
        client.force_login(user)
        page = client.get(page_of(key)).text
        assert "envelope-operation" not in page
        assert "Grant rights" not in page
        assert "envelope-events" not in page
        assert 'name="description"' not in page

    @pytest.mark.parametrize(
        ("permissions", "actions", "denied"),
        [
            ([], list(Action), "describe"),
            (["view_masterkey"], list(Action), "rotate"),
            (["view_masterkey", "change_masterkey"], ["describe"], "rotate"),
            (["view_masterkey", "change_masterkey"], ["rotate"], "describe"),
        ],
    )
    def test_a_forged_change(self, client, key, permissions, actions, denied):
        client.force_login(officer("rita", permissions=permissions, key=key, actions=actions))
        data = {"description": "Mine", "application_use": "on"}
        assert client.post(page_of(key), data).status_code == 403
        key.refresh_from_db()
        assert key.description == "Of a tenant"
        event = AuditEvent.objects.latest("number")
        assert (event.outcome, event.action, event.key_id) == ("denied", denied, key.pk)
        assert event.actor_name == "rita"

    def test_a_forged_key(self, client):
        client.force_login(officer("rita", permissions=["view_masterkey"]))
        assert client.post(ADD, {"alias": "lab", "application_use": "on"}).status_code == 403
        assert not MasterKey.objects.filter(alias="lab").exists()
        event = AuditEvent.objects.latest("number")
        assert (event.outcome, event.action, event.key_id) == ("denied", "create_key", None)
        assert event.actor_name == "rita"

    def test_what_is_no_key(self, client):
        url = reverse("admin:envelope_fields_masterkey_change", args=["nonsense"])
        assert client.post(url, {"description": "x"}).status_code == 302

    def test_superusers_are_no_exception(self, client, key, admin_user):
        client.force_login(admin_user)
        assert "tenant" not in client.get(LIST).text
        assert client.get(page_of(key)).status_code in (302, 403)

    def test_unless_a_setting_says_so(self, client, key, admin_user, settings):
        settings.ENVELOPE_FIELDS = {**settings.ENVELOPE_FIELDS, "SUPERUSERS_BYPASS_POLICY": True}
        client.force_login(admin_user)
        assert 'data-operation="rotate"' in client.get(page_of(key)).text


def test_notes_are_protected_by_the_default_key(client):
    Note.objects.create(text="a", data=None)
    key = MasterKey.objects.get(alias="default")
    assert "1 stored value is under this key" in client.get(page_of(key)).text
