"""What every root key does, with each mechanism that SoftHSM has."""

import pytest

pytest.importorskip("PyKCS11", reason="PyKCS11 is not installed; `make root-keys` has it")

from tests.root_keys.contract import RootKeyContract
from tests.root_keys.pkcs11.softhsm import HsmService


class TestAesGcm(RootKeyContract):
    @pytest.fixture(scope="class")
    @classmethod
    def service(cls, token):
        return HsmService(token, "AES_GCM")


class TestKeyWrap(RootKeyContract):
    @pytest.fixture(scope="class")
    @classmethod
    def service(cls, token):
        return HsmService(token, "AES_KEY_WRAP_PAD")
