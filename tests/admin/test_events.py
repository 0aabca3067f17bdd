"""The audit trail in the admin: read by those who may, changed by nobody."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from envelope_fields.lifecycle import create_master_key, rotate_master_key, shred
from envelope_fields.models import AuditEvent
from tests.admin import officer

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(databases="__all__")]

LIST = reverse("admin:envelope_fields_auditevent_changelist")


def page_of(event):
    return reverse("admin:envelope_fields_auditevent_change", args=[event.pk])


def found(page):
    return {(event.key_alias, event.action) for event in page.context["cl"].result_list}


def test_only_of_keys_whose_trail_one_may_see(client, key):
    create_master_key("other")
    assert {alias for alias, _ in found(client.get(LIST))} == {"tenant"}
    event = AuditEvent.objects.get(key_alias="other")
    assert client.get(page_of(event)).status_code == 302


def test_filters(client, key):
    rotate_master_key(key)
    assert found(client.get(LIST, {"action": "rotate"})) == {("tenant", "rotate")}
    assert found(client.get(LIST, {"key": "tenant", "action": "rotate"})) == {("tenant", "rotate")}
    assert found(client.get(LIST, {"key": str(key.pk)})) >= {("tenant", "create_key")}
    assert found(client.get(LIST, {"outcome__exact": "denied"})) == set()
    assert found(client.get(LIST, {"q": "olga"})) == set()
    assert found(client.get(LIST, {"key": "nothing"})) == set()


def test_the_filter_offers_what_one_sees(client, key):
    shred(create_master_key("other"))
    filters = client.get(LIST).context["cl"].filter_specs
    [offered] = [each.lookup_choices for each in filters if each.title == "action"]
    assert {action for action, _ in offered} == {"create_key", "create_grant"}


def test_an_event(client, key):
    event = AuditEvent.objects.filter(key_id=key.pk).first()
    page = client.get(page_of(event)).text
    assert str(event) in page
    assert f"{event.number}:{bytes(event.mac).hex()}" in page
    assert 'type="submit"' not in page.split("content-main")[1]


def test_nobody_changes_it(client, admin_user, key, settings):
    settings.ENVELOPE_FIELDS = {**settings.ENVELOPE_FIELDS, "SUPERUSERS_BYPASS_POLICY": True}
    event = AuditEvent.objects.filter(key_id=key.pk).first()
    client.force_login(admin_user)
    assert client.post(page_of(event), {"action": "x"}).status_code == 403
    delete = reverse("admin:envelope_fields_auditevent_delete", args=[event.pk])
    assert client.post(delete, {"post": "yes"}).status_code == 403
    assert client.get(reverse("admin:envelope_fields_auditevent_add")).status_code == 403
    event.refresh_from_db()
    assert event.action != "x"


def test_without_the_permission(client, key):
    client.force_login(officer("rita", permissions=["view_masterkey"], key=key))
    assert client.get(LIST).status_code == 403


def test_queries_do_not_grow_with_the_events(client, key):
    def pages():
        with CaptureQueriesContext(connection) as queries:
            answers = [client.get(LIST, query) for query in ({}, {"key": "tenant"}, {"q": "olga"})]
        return answers, len(queries)

    pages()
    _, few = pages()
    copy_events(100_000)
    (everything, *_), many = pages()
    assert everything.context["cl"].result_count >= 100_000
    assert many <= few


def test_the_page_of_one_key_does_not_read_the_events_of_all(client, key):
    with CaptureQueriesContext(connection) as queries:
        page = client.get(LIST, {"key": "tenant"})
    events = [each["sql"] for each in queries if AuditEvent._meta.db_table in each["sql"]]
    assert not [sql for sql in events if "DISTINCT" in sql]
    assert not [sql for sql in events if "COUNT" in sql and str(key.pk.hex) not in undashed(sql)]
    [offered] = [each for each in page.context["cl"].filter_specs if each.title == "action"]
    actions = AuditEvent.objects.values_list("action", flat=True)
    assert [name for name, _ in offered.lookup_choices] == sorted(set(actions))


def undashed(sql):
    return sql.replace("-", "")


def copy_events(wanted):
    """Double the trail until it has so many events; their MACs are copies, and nobody looks."""
    names = [field.column for field in AuditEvent._meta.concrete_fields]
    quoted = {name: connection.ops.quote_name(name) for name in names}
    columns = ", ".join(quoted.values())
    while (count := AuditEvent.objects.count()) < wanted:
        shifted = {"number": f"number + {count}", "previous_id": f"number + {count} - 1"}
        copied = ", ".join(shifted.get(name, quoted[name]) for name in names)
        with connection.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO envelope_fields_auditevent ({columns}) "
                f"SELECT {copied} FROM envelope_fields_auditevent ORDER BY number"
            )
