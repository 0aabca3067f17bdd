"""What is said of a package that keeps copies; tests of other packages ask those that do."""

import sys
from types import SimpleNamespace

import pytest
from django.core.checks import Tags, run_checks

from envelope_fields.checks import copies
from envelope_fields.models import MasterKey, MasterKeyVersion
from tests.models import Note

pytestmark = pytest.mark.any_database


@pytest.fixture
def kept(monkeypatch):
    """Have a package that is installed keep what it is given here."""
    kept = set()
    package = copies.Package(
        "django-copies", "its table", lambda model, field: (model, field) in kept, "Set it.", "No."
    )
    monkeypatch.setattr(copies, "_PACKAGES", {"tests": package, "not_installed": None})
    return kept


def test_no_package_is_installed():
    assert copies.check_copies_of_keys() == copies.check_copies_of_values() == []


def test_a_package_that_keeps_nothing(kept):
    assert copies.check_copies_of_keys() == copies.check_copies_of_values() == []


def test_rows_of_keys(kept):
    kept |= {(MasterKey, None), (MasterKeyVersion, None)}
    (message,) = copies.check_copies_of_keys()
    assert message.id == "envelope_fields.W073"
    assert message.msg == (
        "django-copies keeps rows of keys in its table: envelope_fields.MasterKey, "
        "envelope_fields.MasterKeyVersion."
    )
    assert message.hint.startswith("Set it.")
    assert message in run_checks(tags=[Tags.security])


def test_values(kept):
    kept |= {(Note, "title"), (Note, "text")}  # the title is not encrypted
    (message,) = copies.check_copies_of_values()
    assert (message.id, message.obj, message.hint) == ("envelope_fields.W072", Note, "No.")
    assert message.msg == "django-copies keeps values of text in clear, in its table."
    assert message in run_checks(tags=[Tags.models], databases=[])


def test_a_package_of_several_apps_is_named_once(kept, monkeypatch):
    kept |= {(Note, "text")}
    both = dict.fromkeys(("tests", "envelope_fields"), copies._PACKAGES["tests"])
    monkeypatch.setattr(copies, "_PACKAGES", both)
    assert len(copies.check_copies_of_values()) == 1


def test_the_search_of_an_older_wagtail(monkeypatch):
    """Before there was django-modelsearch, it was a part of Wagtail."""
    declared = [SimpleNamespace(field_name="text")]
    monkeypatch.setattr(Note, "get_search_fields", lambda: declared, raising=False)
    monkeypatch.setitem(sys.modules, "modelsearch", None)
    index = SimpleNamespace(get_indexed_models=lambda: [Note])
    monkeypatch.setitem(sys.modules, "wagtail.search.index", index)
    monkeypatch.setattr(copies, "_PACKAGES", {"tests": copies._PACKAGES["wagtail.search"]})
    (message,) = copies.check_copies_of_values()
    assert "keeps values of text in clear" in message.msg
