"""The settings: what is accepted, and how a mistake is answered."""

import traceback

import pytest
from django.core.exceptions import ImproperlyConfigured

from envelope_fields import keyring
from envelope_fields.checks.settings import check_settings
from envelope_fields.conf import configuration
from envelope_fields.root_keys.local import generate

LOCAL = "envelope_fields.root_keys.local.LocalRootKey"


def test_defaults(settings):
    settings.ENVELOPE_FIELDS = {}  # a deletion alone is told nobody
    del settings.ENVELOPE_FIELDS
    assert configuration().database == "default"
    assert configuration().key_cache_seconds == 60
    assert configuration().require_principal is False
    assert configuration().superusers_bypass_policy is False
    with pytest.raises(ImproperlyConfigured, match="generate_root_key"):
        _ = configuration().wrapping_root_key


def schemas_of(database):
    return {"default": ["acme", "corp"], "other": "acme"}[database]


def test_schemas(settings):
    assert "any" in configuration().schemas.of("default")
    settings.ENVELOPE_FIELDS = {"SCHEMAS": ("acme",)}
    assert configuration().schemas.of("default") == {"acme"}
    settings.ENVELOPE_FIELDS = {"SCHEMAS": f"{__name__}.schemas_of"}
    assert configuration().schemas.of("default") == {"acme", "corp"}
    with pytest.raises(ImproperlyConfigured, match="list of names of schemas"):
        configuration().schemas.of("other")


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("acme", "cannot be imported"),
        ("nowhere.schemas", "cannot be imported"),
        (f"{__name__}.LOCAL", "is not a function"),
    ],
)
def test_a_path_that_names_no_function(settings, path, message):
    settings.ENVELOPE_FIELDS = {**settings.ENVELOPE_FIELDS, "SCHEMAS": path}
    with pytest.raises(ImproperlyConfigured, match=message):
        configuration().schemas.of("default")
    (error,) = check_settings()
    assert error.id == "envelope_fields.E001"
    assert message in error.msg


def test_the_first_root_key_wraps(settings):
    settings.ENVELOPE_FIELDS = {
        "ROOT_KEYS": {"new": {"BACKEND": LOCAL}, "old": {"BACKEND": LOCAL}},
        "DATABASE": "other",
        "KEY_CACHE_SECONDS": 0,
    }
    assert configuration().wrapping_root_key == "new"
    assert configuration().database == "other"
    assert configuration().key_cache_seconds == 0


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ([], "must be a dictionary"),
        ({"ROOT_KEY": {}}, "no entry 'ROOT_KEY'. Valid: ROOT_KEYS, DATABASE, KEY_CACHE_SECONDS"),
        ({"ROOT_KEYS": []}, "must be a dictionary"),
        ({"ROOT_KEYS": {"a": "b"}}, "BACKEND"),
        ({"ROOT_KEYS": {"a": {}}}, "BACKEND"),
        ({"ROOT_KEYS": {"a": {"BACKEND": dict}}}, "dotted path"),
        ({"ROOT_KEYS": {"a": {"BACKEND": LOCAL, "OPTION": {}}}}, "Valid: BACKEND, OPTIONS"),
        ({"ROOT_KEYS": {"a": {"BACKEND": LOCAL, "OPTIONS": "x"}}}, "must be a dictionary"),
        ({"ROOT_KEYS": {1: {"BACKEND": LOCAL}}}, "names are text"),
        ({"ROOT_KEYS": {"x" * 101: {"BACKEND": LOCAL}}}, "at most 100"),
        ({"DATABASE": ["default"]}, "not in DATABASES"),
        ({"DATABASE": "nowhere"}, "not in DATABASES. Valid: default, other"),
        ({"KEY_CACHE_SECONDS": -1}, "number of seconds"),
        ({"KEY_CACHE_SECONDS": "60"}, "number of seconds"),
        ({"KEY_CACHE_SECONDS": True}, "number of seconds"),
        ({"KEY_CACHE_SECONDS": 1e9}, "number of seconds"),
        ({"REQUIRE_PRINCIPAL": "False"}, r'"REQUIRE_PRINCIPAL"\] must be True or False'),
        ({"SUPERUSERS_BYPASS_POLICY": 1}, r'"SUPERUSERS_BYPASS_POLICY"\] must be True or False'),
        ({"SCHEMAS": ["acme", ""]}, r'"SCHEMAS"\] must be a list of names of schemas'),
        ({"SCHEMAS": 1}, "list of names of schemas"),
        ({"SCHEMAS": {"default": ["acme"]}}, "list of names of schemas"),
        ({"SCHEMAS": [b"acme"]}, "list of names of schemas"),
    ],
)
def test_mistakes(settings, setting, message):
    settings.ENVELOPE_FIELDS = setting
    with pytest.raises(ImproperlyConfigured, match=message):
        configuration()


@pytest.mark.parametrize(
    "mistake",
    [{"DATABASE": "nowhere"}, {"UNKNOWN": 1}, {"KEY_CACHE_SECONDS": -1}, {"OPTIONS": {}}],
)
def test_a_mistake_beside_a_key_does_not_show_the_key(settings, mistake):
    key = generate()
    root_key = {"BACKEND": LOCAL, "OPTIONS": {"key": key}, **mistake}
    for setting in (
        {"ROOT_KEYS": {"default": {"BACKEND": LOCAL, "OPTIONS": {"key": key}}}, **mistake},
        {"ROOT_KEYS": {"default": root_key if "OPTIONS" not in mistake else [key]}},
        {"ROOT_KEYS": {"default": {"BACKEND": LOCAL, "OPTIONS": {"key": key, "env": "B"}}}},
    ):
        settings.ENVELOPE_FIELDS = setting
        with pytest.raises(ImproperlyConfigured) as caught:
            keyring.check_root_key("default")
        frames = [
            repr(frame.f_locals)
            for frame, _ in traceback.walk_tb(caught.tb)
            if frame.f_globals["__name__"].startswith("envelope_fields")
        ]
        assert frames
        assert key not in "".join(frames) + str(caught.value)


def test_a_key_in_the_options_does_not_show(settings):
    key = generate()
    settings.ENVELOPE_FIELDS = {
        "ROOT_KEYS": {"default": {"BACKEND": LOCAL, "OPTIONS": {"key": key}}}
    }
    assert key not in repr(configuration())
