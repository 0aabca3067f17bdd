"""What the tests of this folder are given."""

import pytest


@pytest.fixture(scope="session")
def service(openbao):
    return openbao


@pytest.fixture
def root_key(service):
    root_key = service.root_key()
    yield root_key
    root_key.close()
