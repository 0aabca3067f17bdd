"""What every test begins with."""

import pytest


@pytest.fixture(autouse=True)
def no_denials_of_other_tests(monkeypatch):
    """Repeated attempts of one test would be stored in another, when their time is over."""
    from envelope_fields.audit import denied

    denied._waiting.clear()
    monkeypatch.setattr(denied, "_repeats", denied._Repeats())


@pytest.fixture(autouse=True)
def no_uses_of_other_tests(monkeypatch):
    """Uses that one test counted would be written in another, by queries nobody expects there."""
    from envelope_fields import key_uses

    key_uses.keyring.harvest_uses()
    monkeypatch.setattr(key_uses, "_pending", key_uses._Pending())
