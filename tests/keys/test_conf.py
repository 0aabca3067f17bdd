"""The settings: what is accepted, and how a mistake is answered."""

import traceback

import pytest
from django.core.exceptions import ImproperlyConfigured

from envelope_fields import keyring
from envelope_fields.conf import configuration
from envelope_fields.root_keys.local import generate

LOCAL = "envelope_fields.root_keys.local.LocalRootKey"


def test_defaults(settings):
    del settings.ENVELOPE_FIELDS
    assert configuration().database == "default"
    assert configuration().key_cache_seconds == 60
    assert configuration().require_principal is False
    assert configuration().superusers_bypass_policy is False
    with pytest.raises(ImproperlyConfigured, match="generate_root_key"):
        _ = configuration().wrapping_root_key


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
