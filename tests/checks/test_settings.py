"""The settings, the root key that is first in them, and serializers."""

import os
import sys
from types import ModuleType

import pytest
from django.apps import apps
from django.core.checks import run_checks
from django.core.serializers import base, json, python, xml_serializer
from django.core.serializers.python import Deserializer

from envelope_fields import checks
from envelope_fields.checks.settings import check_root_keys, check_serializers, check_settings
from envelope_fields.exceptions import RootKeyRefused, RootKeyUnavailable
from envelope_fields.fixtures import json as ours
from envelope_fields.root_keys import KeyVersionContext, MayNotUnwrap, RootKey, Wrapped

pytestmark = pytest.mark.any_database

LOCAL = "envelope_fields.root_keys.local.LocalRootKey"


class BrokenRootKey(RootKey):
    """A root key that gives the answer that it is made with."""

    answers = {
        "unavailable": RootKeyUnavailable("the server does not answer"),
        "refused": RootKeyRefused("the server says no"),
        "missing": ValueError("there is no such key"),
    }

    def __init__(self, *, answer: str) -> None:
        self.answer = answer

    def check(self) -> None:
        raise self.answers[self.answer]

    def wrap(self, material: bytearray, context: KeyVersionContext) -> Wrapped:
        raise self.answers[self.answer]

    def unwrap(self, wrapped: bytes, context: KeyVersionContext) -> bytearray:
        raise self.answers[self.answer]


class BrokenService(BrokenRootKey):
    asks_service = True


class WrapsAlone(BrokenService):
    def check(self):
        raise MayNotUnwrap("it may encrypt")


def entry(backend=LOCAL, **options):
    return {"BACKEND": backend, "OPTIONS": options}


def broken(answer):
    return entry(f"{__name__}.BrokenRootKey", answer=answer)


def check(settings, given):
    settings.ENVELOPE_FIELDS = given
    return check_settings()


def test_the_settings_of_the_tests_are_sound():
    assert check_settings() == []


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([], "must be a dictionary"),
        ({"ROOT_KEY": {}}, "'ROOT_KEY'"),
        ({"ROOT_KEYS": []}, "must be a dictionary"),
        ({"ROOT_KEYS": {"main": {}}}, "'main'"),
        ({"DATABASE": "nowhere"}, "'nowhere'"),
        ({"KEY_CACHE_SECONDS": -1}, "KEY_CACHE_SECONDS"),
    ],
    ids=str,
)
def test_a_wrong_setting_is_reported_as_what_it_is(given, says, settings):
    (message,) = check(settings, given)
    assert message.id == "envelope_fields.E001"
    assert says in message.msg


@pytest.mark.parametrize("given", [{}, {"ROOT_KEYS": {}}], ids=str)
def test_no_root_key_is_reported_with_the_command_that_makes_one(given, settings):
    (message,) = check(settings, given)
    assert message.id == "envelope_fields.E002"
    assert "generate_root_key" in message.hint


def test_settings_without_ours_have_no_root_key(settings):
    settings.ENVELOPE_FIELDS = {}  # announced, as the deletion is not
    del settings.ENVELOPE_FIELDS
    assert [message.id for message in check_settings()] == ["envelope_fields.E002"]


@pytest.mark.parametrize(
    ("root_key", "says"),
    [
        (entry(env="ENVELOPE_TEST_NOT_SET"), "ENVELOPE_TEST_NOT_SET is not set"),
        (entry(file="/nonexistent/root.key"), "does not exist"),
        (entry(key="c2hvcnQ="), "does not hold a root key"),
        (entry(colour="blue"), "'colour'"),
        (entry("nowhere.RootKey"), "nowhere"),
        (entry("builtins.dict"), "not a subclass"),
        (broken("refused"), "the server says no"),
        (broken("missing"), "there is no such key"),
    ],
    ids=str,
)
def test_a_root_key_that_cannot_be_used_is_reported(root_key, says, settings):
    (message,) = check(settings, {"ROOT_KEYS": {"main": root_key}})
    assert message.id == "envelope_fields.E003"
    assert says in message.msg
    assert "c2hvcnQ=" not in str(message)


def test_a_file_that_others_can_read_is_reported(settings, tmp_path):
    path = tmp_path / "root.key"
    path.write_text(os.environ["ENVELOPE_TEST_ROOT_KEY"])
    path.chmod(0o644)
    (message,) = check(settings, {"ROOT_KEYS": {"main": entry(file=str(path))}})
    assert message.id == "envelope_fields.E003"
    path.chmod(0o600)
    assert check_settings() == []


def test_a_root_key_that_may_answer_later_is_a_warning(settings):
    (message,) = check(settings, {"ROOT_KEYS": {"main": broken("unavailable")}})
    assert message.id == "envelope_fields.W001"
    assert not message.is_serious()
    assert "'main'" in message.msg
    assert "does not answer" in message.msg


class TestServices:
    """They are asked with `check --deploy` alone, and all of them."""

    @pytest.fixture(autouse=True)
    def _services(self, settings):
        service = f"{__name__}.BrokenService"
        settings.ENVELOPE_FIELDS = {
            "ROOT_KEYS": {
                "refuses": entry(service, answer="refused"),
                "away": entry(service, answer="unavailable"),
                "wrong": entry(service, answer="missing"),
                "wraps": entry(f"{__name__}.WrapsAlone", answer="refused"),
            }
        }

    def test_without_deploy_none_is_asked(self):
        assert check_settings() == []
        found = [message.id for message in run_checks(tags=["security"])]
        assert not {"envelope_fields.E003", "envelope_fields.W001"} & set(found)

    def test_with_deploy_each_says_what_is_wrong(self):
        found = {each.id[-4:]: each.msg for each in check_root_keys()[:2]}
        assert "'refuses'" in found["E003"]
        assert "says no" in found["E003"]
        assert "'away'" in found["W001"]
        *_, wrong, wraps = check_root_keys()
        assert (wrong.id, wraps.id) == ("envelope_fields.E003", "envelope_fields.W003")
        assert "there is no such key" in wrong.msg
        assert "it may encrypt" in wraps.msg
        with_deploy = run_checks(tags=["security"], include_deployment_checks=True)
        assert all(each in with_deploy for each in check_root_keys())

    def test_what_is_wrong_with_the_first_hides_nothing_of_the_others(self, settings, tmp_path):
        local = "envelope_fields.root_keys.local.LocalRootKey"
        settings.ENVELOPE_FIELDS["ROOT_KEYS"] = {
            "first": entry(local, file=str(tmp_path / "there.is.none")),
            "refuses": entry(f"{__name__}.BrokenService", answer="refused"),
        }
        settings.ENVELOPE_FIELDS = {**settings.ENVELOPE_FIELDS}
        [first] = check_settings()
        assert "'first'" in first.msg
        [refused] = check_root_keys()
        assert "'refuses'" in refused.msg

    def test_options_that_are_wrong_are_reported_once(self, settings):
        wrong = entry(f"{__name__}.BrokenService", colour="blue")
        settings.ENVELOPE_FIELDS = {"ROOT_KEYS": {"main": wrong}}
        assert [each.id for each in check_settings()] == ["envelope_fields.E003"]
        assert check_root_keys() == []


def test_only_the_first_root_key_is_asked(settings):
    first = entry(key=os.environ["ENVELOPE_TEST_ROOT_KEY"])
    assert check(settings, {"ROOT_KEYS": {"main": first, "old": broken("missing")}}) == []


def test_the_checks_run_with_django(settings):
    settings.ENVELOPE_FIELDS = {}
    assert "envelope_fields.E002" in [message.id for message in run_checks(tags=["security"])]


def test_registering_twice_reports_once(settings):
    checks.register()
    checks.register()
    settings.ENVELOPE_FIELDS = {}
    ids = [message.id for message in run_checks(tags=["security"])]
    assert ids.count("envelope_fields.E002") == 1


@pytest.fixture
def module(monkeypatch, settings):
    """Name a module with this Serializer in SERIALIZATION_MODULES, under this format."""

    def install(name, serializer):
        module = ModuleType("project_serializers")
        module.Serializer, module.Deserializer = serializer, Deserializer
        monkeypatch.setitem(sys.modules, "project_serializers", module)
        settings.SERIALIZATION_MODULES = {name: "project_serializers"}

    return install


def derived(parent):
    return type("Serializer", (parent,), {})


@pytest.mark.parametrize(
    ("name", "serializer"),
    [
        ("json", ours.Serializer),
        ("json", derived(ours.Serializer)),
        ("xml", derived(xml_serializer.Serializer)),
        ("csv", derived(base.Serializer)),
        ("geojson", derived(ours.Serializer)),
    ],
)
def test_a_sound_serializer_is_silent(name, serializer, module):
    module(name, serializer)
    assert check_serializers() == []


@pytest.mark.parametrize(
    ("name", "serializer"),
    [
        ("json", json.Serializer),
        ("json", derived(json.Serializer)),
        ("jsonl", derived(python.Serializer)),
        ("xml", derived(base.Serializer)),
        ("yaml", derived(base.Serializer)),
        ("geojson", derived(json.Serializer)),
    ],
)
def test_a_serializer_that_may_reveal_values_is_a_warning(name, serializer, module):
    module(name, serializer)
    (message,) = check_serializers()
    assert message.id == "envelope_fields.W050"
    assert f"SERIALIZATION_MODULES[{name!r}]" in message.msg


def test_no_serializers_are_silent():
    assert check_serializers() == []


@pytest.mark.parametrize("path", ["nowhere.serializers", "json"])
def test_serializers_that_cannot_be_imported_are_left_to_django(path, settings):
    settings.SERIALIZATION_MODULES = {"json": path}
    assert check_serializers() == []


def test_without_encrypted_fields_nothing_is_revealed(module, registry):
    module("json", json.Serializer)
    assert check_serializers(registry.get_app_configs()) == []
    assert len(check_serializers([apps.get_app_config("auth")])) == 1


@pytest.mark.django_db(databases=["default", "other"])
def test_nothing_is_said_to_a_test_that_takes_us_out_of_the_applications(settings):
    """As tests of a project's own checks do; ours stay registered."""
    settings.INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes"]
    found = run_checks(include_deployment_checks=True, databases=["default", "other"])
    assert [each for each in found if str(each.id).startswith("envelope_fields.")] == []
