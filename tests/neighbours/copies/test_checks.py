"""What each package keeps by default is said, and nothing of what it was told to leave out."""

import pytest
from cachalot.settings import cachalot_settings
from django.core.checks import run_checks

from envelope_fields.checks.copies import check_copies_of_keys, check_copies_of_values, check_texts
from envelope_fields.models import MasterKey, MasterKeyVersion
from tests.neighbours.copies.models import Indexed, Kept, LeftOut, Note, Single, Translated

KEEP_KEYS = {"django-auditlog", "django-cachalot", "django-cacheops", "django-easy-audit"}


def packages(messages):
    return {message.msg.split()[0] for message in messages}


def test_rows_of_keys():
    found = check_copies_of_keys()
    assert {message.id for message in found} == {"envelope_fields.W073"}
    assert packages(found) == KEEP_KEYS
    assert all("MasterKeyVersion" in message.msg for message in found)


def test_a_cache_without_them(monkeypatch):
    left_out = frozenset(model._meta.db_table for model in (MasterKey, MasterKeyVersion))
    monkeypatch.setattr(cachalot_settings, "CACHALOT_UNCACHABLE_TABLES", left_out)
    (message,) = (each for each in check_copies_of_keys() if "cachalot" in each.msg)
    assert "MasterKey," not in message.msg
    assert "AuditKey" in message.msg


def test_values():
    found = check_copies_of_values()
    assert {(message.msg.split()[0], message.obj) for message in found} == {
        ("django-auditlog", Note),
        ("django-cacheops", Note),
        ("django-easy-audit", Note),
        ("django-watson", Note),
        ("django-modelsearch", Note),
        ("django-modelsearch", Indexed),
        ("django-easy-audit", Indexed),
        ("django-parler", Translated._parler_meta.root_model),
        ("django-field-audit", Kept),
        ("django-tracking-fields", Kept),
        ("django-solo", Single),
    }


@pytest.mark.parametrize(
    ("package", "model", "fields"),
    [
        ("watson", Note, "text in"),
        ("auditlog", Note, "text, data in"),
        ("modelsearch", Indexed, "text in"),
        ("modelsearch", Note, "data in"),
        ("field-audit", Kept, "text in"),
        ("tracking-fields", Kept, "data in"),
        ("solo", Single, "text in"),
    ],
)
def test_the_fields_are_named(package, model, fields):
    found = (each for each in check_copies_of_values() if each.obj is model)
    (message,) = (each for each in found if package in each.msg)
    assert f"keeps values of {fields} clear" in message.msg


def test_a_singleton_that_is_not_cached(settings):
    settings.SOLO_CACHE = None
    assert "django-solo" not in packages(check_copies_of_values())


def test_names_of_logins(monkeypatch):
    monkeypatch.setattr(LeftOut, "USERNAME_FIELD", "text", raising=False)
    monkeypatch.setattr("envelope_fields.checks.packages.get_user_model", lambda: LeftOut)

    def keepers():
        return packages(each for each in check_copies_of_values() if each.obj is LeftOut)

    assert keepers() == {"django-axes", "django-easy-audit"}
    monkeypatch.setattr("axes.conf.settings.AXES_USERNAME_CALLABLE", str)
    monkeypatch.setattr("easyaudit.settings.WATCH_AUTH_EVENTS", False)
    assert keepers() == {"django-axes"}  # in the log of logins
    monkeypatch.setattr("axes.conf.settings.AXES_DISABLE_ACCESS_LOG", True)
    assert keepers() == set()


def test_texts_of_objects_beside_what_is_left_out():
    found = check_texts()
    assert {(each.id, each.obj) for each in found} == {("envelope_fields.W047", Indexed)}
    assert {message.msg.partition(", and ")[2].split()[0] for message in found} == {
        "django-auditlog",
        "django-easy-audit",
        "django-reversion",
    }


def test_they_run_with_the_others_beside_pages_of_no_model():
    found = {message.id for message in run_checks()}
    assert {f"envelope_fields.W{number}" for number in ("047", "072", "073")} <= found
