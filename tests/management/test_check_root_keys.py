"""`manage.py check_root_keys`: what a probe of readiness sees."""

import json

import pytest
from django.core.management import CommandError, call_command

from envelope_fields.conf import configuration
from envelope_fields.exceptions import RootKeyRefused, RootKeyUnavailable
from envelope_fields.models import MasterKeyVersion
from envelope_fields.root_keys import MayNotUnwrap
from envelope_fields.root_keys.local import LocalRootKey, generate
from tests.root_keys.backends import Service
from tests.settings import ROOT_KEY

pytestmark = [pytest.mark.any_database, pytest.mark.django_db]


class Answering(LocalRootKey):
    """A root key whose check answers as the class says."""

    error = None

    def check(self):
        if self.error is not None:
            raise self.error


@pytest.fixture
def answer(settings, monkeypatch):
    backend = {"BACKEND": f"{__name__}.Answering", "OPTIONS": {"key": ROOT_KEY}}
    missing = {
        "BACKEND": "envelope_fields.root_keys.local.LocalRootKey",
        "OPTIONS": {"env": "A_VARIABLE_THAT_IS_NOT_SET"},
    }
    settings.ENVELOPE_FIELDS = {"ROOT_KEYS": {"main": backend}}

    def set_answer(error=None, *, with_old=False):
        monkeypatch.setattr(Answering, "error", error)
        if with_old:
            settings.ENVELOPE_FIELDS = {"ROOT_KEYS": {"main": backend, "old": missing}}

    return set_answer


def test_ready(answer, capsys):
    call_command("check_root_keys")
    assert capsys.readouterr().out == "main: ready\n"
    call_command("check_root_keys", "--json")
    [found] = json.loads(capsys.readouterr().out)
    assert found == {"root_key": "main", "readiness": "ready", "message": ""}


@pytest.mark.parametrize(
    ("error", "readiness"),
    [(RootKeyUnavailable("away"), "unavailable"), (RootKeyRefused("no"), "refused")],
)
def test_not_ready(answer, capsys, error, readiness):
    answer(error)
    with pytest.raises(CommandError, match="Not ready: main"):
        call_command("check_root_keys")
    assert capsys.readouterr().out == f"main: {readiness}: {error}\n"


def test_each_has_a_line(answer, capsys):
    answer(with_old=True)
    with pytest.raises(CommandError, match="Not ready: old"):
        call_command("check_root_keys")
    first, second = capsys.readouterr().out.splitlines()
    assert first == "main: ready"
    assert second.startswith("old: misconfigured: ")
    assert "A_VARIABLE_THAT_IS_NOT_SET is not set" in second


def test_a_process_that_may_encrypt_alone_is_ready(answer, capsys):
    answer(MayNotUnwrap("it may encrypt"))
    call_command("check_root_keys", "--json")
    [found] = json.loads(capsys.readouterr().out)
    assert found == {"root_key": "main", "readiness": "wraps alone", "message": "it may encrypt"}


def test_no_root_key_is_not_ready(settings):
    """A probe that finds nothing to ask must not say that all is well."""
    settings.ENVELOPE_FIELDS = {}
    with pytest.raises(CommandError, match="names no root key"):
        call_command("check_root_keys")


def test_a_backend_that_raises_anything_keeps_no_other_from_being_asked(answer, capsys):
    answer(ZeroDivisionError("hunter2"), with_old=True)
    with pytest.raises(CommandError, match="Not ready: main, old"):
        call_command("check_root_keys")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("main: unavailable: ")
    assert "ZeroDivisionError" in lines[0]
    assert "hunter2" not in lines[0]
    assert lines[1].startswith("old: misconfigured: ")


class TestOneIsEnough:
    """For two root keys, either of which opens every master key."""

    def run(self):
        call_command("check_root_keys", "--any")

    @pytest.fixture(autouse=True)
    def _services(self, settings):
        settings.ENVELOPE_FIELDS = {"ROOT_KEYS": Service.settings("one", "two", one=["two"])}
        Service.reset()
        yield
        Service.reset()

    @pytest.mark.parametrize("name", ["one", "two"])
    def test_where_the_other_does_not_answer(self, capsys, name):
        Service.errors[name] = RootKeyUnavailable("away")
        self.run()
        assert f"{name}: unavailable: away" in capsys.readouterr().out

    def test_where_none_answers(self):
        Service.errors.update(one=RootKeyUnavailable("away"), two=RootKeyUnavailable("away"))
        with pytest.raises(CommandError, match="Not ready: one, two"):
            self.run()

    def test_not_where_one_refuses(self):
        Service.errors["one"] = RootKeyRefused("no")
        with pytest.raises(CommandError, match="Not ready: one"):
            self.run()


def test_another_key_than_that_which_wrapped_the_newest_version(settings, capsys):
    """Such as that of another deployment: it could wrap, and opens nothing."""
    name = configuration().wrapping_root_key
    assert MasterKeyVersion.objects.filter(root_key=name).exists()
    entry = {"BACKEND": LocalRootKey.__module__ + ".LocalRootKey", "OPTIONS": {"key": generate()}}
    settings.ENVELOPE_FIELDS = {"ROOT_KEYS": {name: entry}}
    with pytest.raises(CommandError, match=f"Not ready: {name}"):
        call_command("check_root_keys")
    assert f"{name}: refused: the root key from" in capsys.readouterr().out
