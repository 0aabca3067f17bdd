"""One OpenBao for all tests of this folder; each test leaves it as it was."""

import pytest


@pytest.fixture(scope="package")
def service(tmp_path_factory):
    from tests.root_keys.vault.service import VaultService

    service = VaultService(tmp_path_factory.mktemp("openbao"))
    yield service
    service.close()


@pytest.fixture
def root_key(service):
    root_key = service.root_key()
    yield root_key
    root_key.close()
