"""One OpenBao for all tests of a process; each leaves it as it was."""

import pytest


@pytest.fixture(scope="session")
def openbao(tmp_path_factory):
    from tests.root_keys.vault.service import VaultService

    service = VaultService(tmp_path_factory.mktemp("openbao"))
    yield service
    service.close()
