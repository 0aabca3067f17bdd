"""What is said of a package that keeps copies; tests of other packages ask those that do."""

import sys
from types import SimpleNamespace

import pytest
from django.core.checks import Tags, run_checks

from envelope_fields.checks import copies, packages
from envelope_fields.models import MasterKey, MasterKeyVersion
from tests.models import Note

pytestmark = pytest.mark.any_database

PACKAGES = packages.PACKAGES


@pytest.fixture
def kept(monkeypatch):
    """Have a package that is installed keep what it is given here."""
    kept = set()
    package = packages.Package(
        "django-copies", "its table", lambda model, field: (model, field) in kept, "Set it.", "No."
    )
    monkeypatch.setattr(packages, "PACKAGES", {"tests": package, "not_installed": None})
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
    both = dict.fromkeys(("tests", "envelope_fields"), packages.PACKAGES["tests"])
    monkeypatch.setattr(packages, "PACKAGES", both)
    assert len(copies.check_copies_of_values()) == 1


def test_the_search_of_an_older_wagtail(monkeypatch):
    """Before there was django-modelsearch, it was a part of Wagtail."""
    declared = [SimpleNamespace(field_name="text")]
    monkeypatch.setattr(Note, "get_search_fields", lambda: declared, raising=False)
    monkeypatch.setitem(sys.modules, "modelsearch", None)
    index = SimpleNamespace(get_indexed_models=lambda: [Note])
    monkeypatch.setitem(sys.modules, "wagtail.search.index", index)
    monkeypatch.setattr(packages, "PACKAGES", {"tests": packages.PACKAGES["wagtail.search"]})
    (message,) = copies.check_copies_of_values()
    assert "keeps values of text in clear" in message.msg


def found_by(monkeypatch, app, modules):
    """Return what is said of a package, given the parts of it that are asked."""
    for name, parts in modules.items():
        monkeypatch.setitem(sys.modules, name, SimpleNamespace(**parts))
    monkeypatch.setattr(packages, "PACKAGES", {"tests": PACKAGES[app]})
    return [(message.obj, message.msg) for message in copies.check_copies_of_values()]


@pytest.mark.parametrize("sent", ["__all__", ["title", "text"]])
@pytest.mark.parametrize("option", ["CQRS_FIELDS", "CQRS_TRACKED_FIELDS"])
def test_messages_of_django_cqrs(option, sent, monkeypatch):
    monkeypatch.setattr(Note, "CQRS_FIELDS", ["title"], raising=False)
    monkeypatch.setattr(Note, "CQRS_TRACKED_FIELDS", None, raising=False)
    modules = {"dj_cqrs.mixins": {"RawMasterMixin": Note}}
    assert found_by(monkeypatch, "dj_cqrs", modules) == []
    monkeypatch.setattr(Note, option, sent)
    [(model, said)] = found_by(monkeypatch, "dj_cqrs", modules)
    assert model is Note
    assert "text" in said


@pytest.mark.parametrize(("named", "said"), [((("text", "content"),), True), (("title",), False)])
def test_an_index_of_algolia(named, said, monkeypatch):
    engine = SimpleNamespace(
        is_registered=lambda model: model is Note,
        get_adapter=lambda model: SimpleNamespace(fields=named),
    )
    modules = {"algoliasearch_django.registration": {"algolia_engine": engine}}
    found = found_by(monkeypatch, "algoliasearch_django", modules)
    assert [model for model, _ in found] == [Note] * said
