"""Classes that settings name: one loader for root keys, and for the workers of rotations."""

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from envelope_fields.conf import configuration
from envelope_fields.conf.backends import BACKENDS, load
from envelope_fields.jobs.workers import RotationWorker
from envelope_fields.root_keys import RootKey
from envelope_fields.root_keys.local import LocalRootKey
from tests.settings import ROOT_KEY

PROCESSES = "envelope_fields.jobs.workers.process.ProcessWorker"


class AnyOption(LocalRootKey):
    """Takes whatever it is given."""

    def __init__(self, **options):
        self.options = options
        super().__init__(key=ROOT_KEY)


@pytest.mark.parametrize(
    ("backend", "options", "message"),
    [
        ("envelope_fields.root_keys.local.LocalRootKey", {"envv": "A"}, "Valid: env, file, key"),
        ("envelope_fields.root_keys.local.Nothing", {}, "cannot be imported"),
        ("nowhere.Nothing", {}, "cannot be imported"),
        ("Nothing", {}, "cannot be imported"),
        (".local.LocalRootKey", {}, "cannot be imported"),
        ("builtins.dict", {}, "not a subclass"),
    ],
)
def test_make(backend, options, message):
    with pytest.raises(ValueError, match=message):
        load(backend, options, RootKey)


@pytest.mark.parametrize("base", [RootKey, RotationWorker])
def test_a_path_that_is_misspelt_is_answered_with_those_that_there_are(base):
    with pytest.raises(ValueError, match="cannot be imported") as caught:
        load("envelope_fields.root_keys.local.LocalRotKey", {}, base)
    for path in BACKENDS[base.__name__]:
        assert path in str(caught.value)
        module, _, name = path.rpartition(".")  # not imported: its library may not be here
        source = Path(find_spec(module).origin).read_text(encoding="utf-8")
        assert f"class {name}(" in source


def test_one_of_ours_whose_library_is_not_installed_is_not(monkeypatch):
    path = BACKENDS["RootKey"][0]
    monkeypatch.setitem(sys.modules, path.rpartition(".")[0], None)
    with pytest.raises(ValueError, match="cannot be imported") as caught:
        load(path, {}, RootKey)
    assert "This package has" not in str(caught.value)


def test_a_class_that_takes_any_option():
    assert load(f"{__name__}.AnyOption", {"colour": "blue"}, RootKey).options == {"colour": "blue"}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"BACKEND": PROCESSES, "OPTIONS": {"worker": 2}}, "no option 'worker'. Valid: workers"),
        ({"BACKEND": PROCESSES, "OPTIONS": {"workers": 9999}}, "workers must be a number from 1"),
        ({"BACKEND": PROCESSES, "OPTIONS": {"workers": "2"}}, "workers must be .* not '2'"),
        ({"BACKEND": "nowhere.Worker"}, "cannot be imported"),
        ({"BACKEND": f"{__name__}.AnyOption"}, "is not a subclass of .*RotationWorker"),
    ],
)
def test_a_worker_of_rotations(entry, message, settings):
    settings.ENVELOPE_FIELDS = {"ROTATION_WORKER": entry}
    where = r'ENVELOPE_FIELDS\["ROTATION_WORKER"\]: '
    with pytest.raises(ImproperlyConfigured, match=f"{where}.*{message}"):
        configuration().rotation_worker.make(RotationWorker)
