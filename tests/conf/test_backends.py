"""Classes that settings name: one loader for root keys, and for the workers of rotations."""

import pytest
from django.core.exceptions import ImproperlyConfigured

from envelope_fields.conf import configuration
from envelope_fields.conf.backends import load
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
