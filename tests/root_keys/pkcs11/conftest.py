"""A token for all of these tests, which are skipped where PyKCS11 or SoftHSM is missing."""

import pytest


@pytest.fixture(scope="session")
def token(tmp_path_factory):
    from tests.root_keys.pkcs11.softhsm import Token

    with pytest.MonkeyPatch.context() as patch:
        yield Token(tmp_path_factory.mktemp("softhsm"), patch)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    """What is not there, is not there a moment later either."""
    from envelope_fields.root_keys import pkcs11

    monkeypatch.setattr(pkcs11, "PAUSES", (0.001, 0.002, 0.004))


@pytest.fixture
def root_key(token):
    """A root key that no test changes; it has not been used."""
    root_key = token.root_key("shared")
    yield root_key
    root_key.close()
