"""The key admin in another language: each text of ours is one that translators are given."""

import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from django.urls import reverse
from django.utils import translation

import envelope_fields
from envelope_fields import kms
from envelope_fields.lifecycle import (
    Operation,
    create_master_key,
    disable,
    representation,
    rotate_master_key,
)
from envelope_fields.models import AuditEvent, KeyGrant
from envelope_fields.policy import Action
from tests.models import TenantNote

pytestmark = pytest.mark.any_database

SHOWN = ("title", "aria-label", "placeholder", "alt")
# What is said in the words of the database, or of Django without a translation.
DATA = re.compile(
    r"\b(tenant|empty|olga|default|application|tests\.TenantNote\.(text|data)|The clinic|True"
    r"|[0-9a-f-]{8,}|auth\.user|create_key|create_grant|rotate|disable|schedule_deletion|Search)\b"
)


class Texts(HTMLParser):
    """What people read of a page."""

    def __init__(self):
        super().__init__()
        self.found, self._hidden = [], 0

    def handle_starttag(self, tag, attributes):
        self._hidden += tag in ("script", "style", "pre")
        given = dict(attributes)
        shown = [given[name] for name in SHOWN if given.get(name)]
        if given.get("type") == "submit":
            shown.append(given.get("value", ""))
        self.found += shown

    def handle_endtag(self, tag):
        self._hidden -= tag in ("script", "style", "pre")

    def handle_data(self, data):
        if not self._hidden:
            self.found.append(data)


@pytest.fixture
def key():
    return create_master_key("tenant", rotation_period=90)


@pytest.fixture
def translated(monkeypatch):
    """Have every text that passes gettext stand in brackets."""
    catalogue = {
        "gettext": lambda message: f"⟦{message}⟧" if message else message,
        "ngettext": lambda one, many, number: f"⟦{one if number == 1 else many}⟧",
        "pgettext": lambda context, message: f"⟦{message}⟧",
        "npgettext": lambda context, one, many, number: f"⟦{one if number == 1 else many}⟧",
    }
    for name, function in catalogue.items():
        monkeypatch.setattr(translation._trans, name, function, raising=False)


def untranslated(page):
    texts = Texts()
    texts.feed(page)
    found = []
    for text in texts.found:
        rest, again = text, True
        while again:  # brackets stand in brackets
            rest, again = re.subn("⟦[^⟦⟧]*⟧", "", rest)
        if re.search("[A-Za-z]{2}", DATA.sub("", rest)):
            found.append(text.strip())
    return found


@pytest.mark.django_db(databases="__all__")
def test_nothing_is_left_out(client, key, user, translated):
    TenantNote.objects.create(tenant="tenant", text="x", data={})
    kms.encrypt("tenant", b"x", {})
    rotate_master_key(key)
    empty = create_master_key("empty", actor=user)

    def address(name, *args):
        return reverse(f"admin:envelope_fields_{name}", args=args)

    acts = ["rotate", "enable", "disable", "move_alias", "schedule_deletion", "shred"]
    granted = KeyGrant.objects.get(master_key=key)
    event = AuditEvent.objects.filter(key_id=key.pk).first()
    grant, revoke = (
        address("masterkey_grant", key.pk),
        address("masterkey_revoke", key.pk, granted.pk),
    )
    wrong = {"kind": "user", "name": "nobody", "actions": ["rotate"], "context": "x.y"}
    pages = [
        *(client.get(address("masterkey_operation", key.pk, act), follow=True) for act in acts),
        client.get(address("masterkey_changelist")),
        client.get(address("masterkey_add")),
        client.post(address("masterkey_add"), {"alias": " ", "rotation_period": "1"}),
        client.get(address("masterkey_change", key.pk)),
        client.get(address("masterkey_operation", empty.pk, "schedule_deletion")),
        client.post(address("masterkey_operation", empty.pk, "schedule_deletion"), {"days": "1"}),
        client.post(
            address("masterkey_operation", empty.pk, "schedule_deletion"),
            {"days": "7"},
            follow=True,
        ),
        client.get(address("masterkey_operation", empty.pk, "cancel_deletion")),
        client.post(address("masterkey_operation", key.pk, "shred"), {"confirm": "other"}),
        client.get(grant),
        client.post(grant, wrong),
        client.post(grant, {**wrong, "name": "olga"}),
        client.get(revoke),
        client.post(revoke),
        client.get(address("auditevent_changelist")),
        client.get(address("auditevent_change", event.pk)),
    ]
    disable(key)
    pages.append(client.get(address("masterkey_operation", key.pk, "enable")))
    assert {page.status_code for page in pages} == {200}
    for page in pages:
        assert untranslated(page.text) == [], page.request["PATH_INFO"]


def test_every_action_has_words():
    for action in (*Action, *Operation):
        assert action.label
        assert representation.in_words(str(action)) == action.label


@pytest.mark.skipif(not shutil.which("xgettext"), reason="no gettext tools")
def test_a_catalogue_can_be_made(tmp_path):
    """As `makemessages` does, without a warning; it has what Python and templates say."""
    package = tmp_path / "envelope_fields"
    shutil.copytree(Path(envelope_fields.__file__).parent, package)
    (package / "locale").mkdir()
    made = subprocess.run(
        [sys.executable, "-m", "django", "makemessages", "--locale", "de"],
        cwd=package, check=True, capture_output=True, text=True, env={"PATH": os.environ["PATH"]},
    )  # fmt: skip
    assert "warning" not in made.stdout + made.stderr
    catalogue = (package / "locale/de/LC_MESSAGES/django.po").read_text()
    for text in ("view the audit trail", "Step 1 of 2", "No rights on this key have been granted"):
        assert text in catalogue
