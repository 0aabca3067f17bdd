"""A root key that does as a test says: it fails, waits, takes long, and notes what it is asked."""

from envelope_fields.keyring import age
from envelope_fields.root_keys.local import LocalRootKey
from tests.settings import ROOT_KEY


class Service(LocalRootKey):
    """A root key on this machine that answers as a service does.

    Attributes:
        error: what it raises, if anything.
        asked: the ids of the versions that it was asked to open.
        refreshed: how often it began anew.
        gate: an event that it waits for before it answers.
        meanwhile: what it calls before it answers.
    """

    error = None
    asked = []
    refreshed = 0
    gate = None
    meanwhile = None

    def unwrap(self, wrapped, context):
        self.asked.append(context.version_id)
        assert len(self.asked) < 1000, "it is asked without end"
        if self.gate is not None:
            self.gate.wait(30)
        if self.meanwhile is not None:
            type(self).meanwhile()
        if self.error is not None:
            raise self.error
        return super().unwrap(wrapped, context)

    def refresh(self):
        Service.refreshed += 1


def begin(monkeypatch):
    """Have it answer, and forget what it was asked, until a test ends."""
    before = {"error": None, "asked": [], "refreshed": 0, "gate": None, "meanwhile": None}
    for name, value in before.items():
        monkeypatch.setattr(Service, name, value)
    monkeypatch.setattr(age, "EARLY_SHARE", 0)  # so that it is asked when a test says


def entry(**lifetime):
    """Return its entry in ROOT_KEYS."""
    backend = {"BACKEND": f"{__name__}.Service", "OPTIONS": {"key": ROOT_KEY}}
    return {**backend, **lifetime}


def asked():
    """Return how often it was asked since the last call."""
    times = len(Service.asked)
    Service.asked.clear()
    return times
