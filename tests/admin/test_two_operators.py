"""Two officers at once on one key: whatever they do, it was done one after the other."""

import random
from functools import partial

import pytest
from django.conf import settings as project
from django.test import Client
from django.urls import reverse

from envelope_fields import audit
from envelope_fields.lifecycle import create_master_key
from envelope_fields.models import AuditEvent
from tests.admin import officer
from tests.at_once import at_once, locked

OPERATIONS = {
    "rotate": {},
    "enable": {},
    "disable": {},
    "schedule_deletion": {"days": "7"},
    "cancel_deletion": {},
}


@pytest.mark.django_db(transaction=True, databases="__all__")
@pytest.mark.parametrize("seed", range(3))
def test_each_finds_what_the_other_left(settings, seed):
    settings.ENVELOPE_FIELDS = {**project.ENVELOPE_FIELDS, "KEY_CACHE_SECONDS": 0}
    key = create_master_key("tenant")
    officers = [officer(name, key=key) for name in ("olga", "karl")]

    def work(user, order):
        client = Client()
        client.force_login(user)
        for act in order:
            address = reverse("admin:envelope_fields_masterkey_operation", args=[key.pk, act])
            assert client.post(address, OPERATIONS[act]).status_code == 302

    chance = random.Random(seed)
    orders = [chance.choices(list(OPERATIONS), k=12) for _ in officers]
    outcomes = at_once(*(partial(work, *each) for each in zip(officers, orders, strict=True)))
    assert outcomes == [None, None]

    state, version = "enabled", 1
    done = AuditEvent.objects.filter(key_id=key.pk, outcome="done", action__in=OPERATIONS)
    for event in done.order_by("number"):
        if event.action == "rotate":
            assert (state, event.before["current_version"]) == ("enabled", version)
            version = event.after["current_version"]
        else:
            assert event.before["state"] == state
            state = event.after["state"]
    key.refresh_from_db()
    assert (key.state, key.current_version.number) == (state, version)
    assert audit.verify().intact


@pytest.mark.django_db(transaction=True, databases="__all__")
def test_a_page_that_is_sent_twice_at_once_is_done_once(settings):
    settings.ENVELOPE_FIELDS = {**project.ENVELOPE_FIELDS, "KEY_CACHE_SECONDS": 0}
    key = create_master_key("tenant")
    olga = officer("olga", key=key)
    address = reverse("admin:envelope_fields_masterkey_operation", args=[key.pk, "rotate"])
    clients = [Client() for _ in range(4)]
    for client in clients:
        client.force_login(olga)
    seen = {"shown": clients[0].get(address).context["shown"]}
    answers = at_once(*(partial(client.post, address, seen) for client in clients))
    assert sorted(answer.url == address for answer in answers) == [False, True, True, True]
    assert key.versions.count() == 2


@pytest.mark.django_db(transaction=True, databases="__all__")
@pytest.mark.parametrize("operation", ["rotate", "disable"])
def test_one_who_meets_a_lock_is_told_to_try_again(operation):
    key = create_master_key("tenant")
    client = Client()
    client.force_login(officer("olga", key=key))
    address = reverse("admin:envelope_fields_masterkey_operation", args=[key.pk, operation])
    with locked(key):
        answer = client.post(address, follow=True)
    [said] = answer.context["messages"]
    assert (said.level_tag, "try again" in said.message) == ("error", True)
    assert client.post(address).status_code == 302
    assert AuditEvent.objects.filter(action=operation, outcome="done").count() == 1
