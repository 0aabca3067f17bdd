"""OpenBao as an administrator sets it up for root keys, and the ways in which it fails."""

import json
from base64 import b64encode
from contextlib import contextmanager, suppress

import hvac

from envelope_fields.root_keys.vault import VaultTransitRootKey
from tests.root_keys.certificates import certificates
from tests.root_keys.openbao import OpenBao
from tests.root_keys.proxy import Proxy
from tests.root_keys.services import Service
from tests.waiting import until

KEY = "clinic"
POLICY = """
path "transit/encrypt/{key}" {{ capabilities = ["update"] }}
path "transit/decrypt/{key}" {{ capabilities = ["update"] }}
path "transit/keys/{key}" {{ capabilities = ["read"] }}
"""
RIGHTS = POLICY.format(key="*")


class VaultService(Service):
    """A server behind a proxy, and an AppRole, whose secret id is in a file."""

    def __init__(self, directory):
        self.certificates = certificates(directory)
        self.bao = OpenBao(directory, self.certificates)
        self.proxy = Proxy(self.bao.port, self.certificates)
        self.client, self.transit = self.bao.client, self.bao.client.secrets.transit
        self.secret_id_file = directory / "secret-id"
        self.secrets = (self.client.token,)
        self._set_up()

    def _set_up(self):
        self.client.sys.enable_secrets_engine("transit")
        self.new_key(KEY)
        self.new_key("another")
        self.allow(RIGHTS)
        self.client.sys.enable_auth_method("approle")
        self.bao.write("sys/auth/approle/tune", user_lockout_config={"lockout_disable": True})
        self.client.auth.approle.create_or_update_approle(KEY, token_policies=[KEY])
        self.role_id = self.client.auth.approle.read_role_id(KEY)["data"]["role_id"]
        self.new_secret_id()

    def root_key(self, **options):
        return VaultTransitRootKey(**{**self.options(), **options})

    def patient_root_key(self):
        return self.root_key(timeout=10)

    def options(self, **ways):
        """Return options of a root key that logs in by the AppRole, or in another way."""
        login = {"role_id": self.role_id, "secret_id_file": str(self.secret_id_file)}
        return {
            "url": self.proxy.url,
            "key": KEY,
            "ca_file": str(self.certificates.ca),
            "timeout": 1.5,
            **(ways or login),
        }

    def entry(self):
        return {
            "BACKEND": "envelope_fields.root_keys.vault.VaultTransitRootKey",
            "OPTIONS": self.options(),
        }

    def another_key(self):
        return self.root_key(key="another")

    def unknown_key(self):
        return self.root_key(key="unknown")

    def restart(self):
        self.bao.stop()
        self.bao.start()
        self.bao.unseal()

    def close(self):
        self.proxy.close()
        self.bao.close()

    def new_key(self, name, **options):
        """Make a key, of 256 bits and derived if not said otherwise; return its name."""
        self.bao.write(f"transit/keys/{name}", **{"derived": True, **options})
        return name

    def encrypted(self, plaintext, context, key=KEY):
        """Encrypt with a key, as another program may that has its name."""
        plaintext, context = (b64encode(each).decode() for each in (plaintext, context.encode()))
        made = self.transit.encrypt_data(key, plaintext=plaintext, context=context)
        return made["data"]["ciphertext"].encode()

    @contextmanager
    def allowing(self, rights):
        """Have another policy inside; it holds at once."""
        self.allow(rights)
        try:
            yield
        finally:
            self.allow(RIGHTS)

    def requests(self, path):
        """Return what the audit log has of the requests for a path."""
        entries = map(json.loads, self.bao.audit_log.read_text().splitlines())
        return [
            entry
            for entry in entries
            if entry["type"] == "response" and entry["request"]["path"] == path
        ]

    def allow(self, rights):
        """Set the policy of the tokens that root keys use, which changes what they may at once."""
        self.client.sys.create_or_update_policy(KEY, rights)

    @contextmanager
    def throttling(self, path):
        """Have the server answer requests for a path with 429 inside."""
        self.bao.write("sys/quotas/rate-limit/few", rate=0.001, path=path, block_interval="1h")
        until(lambda: self._is_throttled(path))  # the first one passes
        try:
            yield
        finally:
            self.client.adapter.delete("/v1/sys/quotas/rate-limit/few")

    def _is_throttled(self, path):
        try:
            self.client.read(
                f"{path}{'keys/clinic' if path == 'transit/' else 'token/lookup-self'}"
            )
        except hvac.exceptions.RateLimitExceeded:
            return True
        return False

    def restore(self, snapshot):
        """Bring the server back to an earlier time."""
        self.client.sys.restore_raft_snapshot(snapshot)
        self.bao.unseal()

    def in_namespace(self, name):
        """Make a namespace; return a client in it that may do everything."""
        self.bao.write(f"sys/namespaces/{name}")
        return self.client_in(name)

    def client_in(self, name):
        return hvac.Client(
            url=self.client.url,
            token=self.client.token,
            verify=str(self.certificates.ca),
            namespace=name,
        )

    def token(self, **options):
        """Return a new token with that policy."""
        made = self.client.auth.token.create(policies=[KEY], **options)["auth"]["client_token"]
        self.secrets += (made,)
        return made

    def new_secret_id(self):
        made = self.client.auth.approle.generate_secret_id(KEY)["data"]["secret_id"]
        self.secrets += (made,)
        self.secret_id_file.write_text(made)
        self.secret_id_file.chmod(0o640)

    def end_tokens(self):
        """Have the tokens of the last logins end now."""
        for entry in self.requests("auth/approle/login")[-5:]:
            with suppress(KeyError, hvac.exceptions.InvalidPath):  # refused, or ended
                self.client.auth.token.revoke_accessor(entry["response"]["auth"]["accessor"])

    @contextmanager
    def fault(self, name):
        with getattr(self, f"_{name}")():
            yield

    @contextmanager
    def _key_disabled(self):
        self.client.adapter.delete(f"/v1/transit/keys/{KEY}/soft-delete")
        yield
        self.bao.write(f"transit/keys/{KEY}/soft-delete-restore")

    @contextmanager
    def _right_revoked(self):
        with self.allowing(POLICY.format(key="none")):
            yield

    def _throttled(self):
        return self.throttling("transit/")

    def _timeout(self):
        return self.proxy.hanging()

    def _connection_reset(self):
        return self.proxy.resetting()

    def _unreachable(self):
        return self.proxy.unreachable()

    @contextmanager
    def _credentials_expired(self):
        self.client.auth.approle.destroy_secret_id(KEY, self.secret_id_file.read_text())
        self.end_tokens()
        yield
        self.new_secret_id()

    @contextmanager
    def _credentials_missing(self):
        elsewhere = self.secret_id_file.rename(self.secret_id_file.with_suffix(".moved"))
        self.end_tokens()
        yield
        elsewhere.rename(self.secret_id_file)
