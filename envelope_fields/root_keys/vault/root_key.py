"""The root key that is a derived key of Vault's transit engine."""

import os
from hmac import compare_digest
from threading import RLock
from typing import ClassVar, Final
from uuid import UUID

from envelope_fields.crypto.buffers import KeyBuffer, random_buffer, wipe
from envelope_fields.crypto.context import KeyVersionContext
from envelope_fields.exceptions import RootKeyRefused
from envelope_fields.root_keys.base import MATERIAL_BYTES, RootKey, Wrapped
from envelope_fields.root_keys.vault import options
from envelope_fields.root_keys.vault.key import TransitKey, version_of
from envelope_fields.root_keys.vault.session import Operation, Session

_PROBE: Final = KeyVersionContext(UUID(int=0), bytes(8), 0, "check")


class VaultTransitRootKey(RootKey):
    """Wraps with a derived key of the transit engine of OpenBao or HashiCorp Vault.

    Each wrapping is bound to its `KeyVersionContext`, from which the engine derives a key. The
    stored bytes are Vault's ciphertext, `vault:v3:` and base64.

    Args:
        url: where Vault is, such as `https://vault.example.com:8200`. `http` is for an agent on
            this machine alone.
        key: the name of the key: letters, digits, `_` and `-`.
        mount_point: where the transit engine is mounted.
        namespace: the namespace in which the engine and the login method are.
        token_env: the environment variable that holds a token.
        token_file: the file that holds a token, such as an agent's sink.
        role_id: of an AppRole, with `secret_id_file`.
        secret_id_file: the file that holds its secret id.
        kubernetes_role: the role for the service account of this pod.
        kubernetes_token_file: the file with the token of the service account, if not the usual one.
        auth_mount_point: where the login method is mounted, if not at `approle` or `kubernetes`.
        ca_file: the certificate of the CA that signed Vault's, as PEM; the system's CAs otherwise.
        timeout: seconds for one attempt of a request. An operation takes at most three times that.

    Exactly one of `token_env`, `token_file`, `role_id` and `kubernetes_role` is given. Files are
    read again for each login.
    """

    asks_service: ClassVar = True

    def __init__(
        self,
        *,
        url: str,
        key: str,
        mount_point: str = "transit",
        namespace: str | None = None,
        token_env: str | None = None,
        token_file: str | os.PathLike[str] | None = None,
        role_id: str | None = None,
        secret_id_file: str | os.PathLike[str] | None = None,
        kubernetes_role: str | None = None,
        kubernetes_token_file: str | os.PathLike[str] | None = None,
        auth_mount_point: str | None = None,
        ca_file: str | os.PathLike[str] | None = None,
        timeout: float = 5.0,
    ) -> None:
        self._server = options.server(url, namespace, ca_file, timeout)
        self._key = TransitKey(options.path("mount_point", mount_point), options.key_name(key))
        self._login = options.login(
            token_env=token_env,
            token_file=token_file,
            role_id=role_id,
            secret_id_file=secret_id_file,
            kubernetes_role=kubernetes_role,
            kubernetes_token_file=kubernetes_token_file,
            auth_mount_point=auth_mount_point,
        )
        self._session: Session | None = None
        self._lock = RLock()  # of making a session, which touches nothing outside

    def __repr__(self) -> str:
        return f"<VaultTransitRootKey {self._key} at {self._server.url}>"

    def wrap(self, material: bytearray, context: KeyVersionContext) -> Wrapped:
        return self._wrap(self._operation(), material, context)

    def unwrap(self, wrapped: bytes, context: KeyVersionContext) -> bytearray:
        ciphertext = wrapped.decode("latin-1")
        version_of(ciphertext)
        return self._unwrap(self._operation(), ciphertext, context)

    def check(self) -> None:
        operation = self._operation()
        operation.session.key_is_checked = False
        probe = random_buffer(MATERIAL_BYTES)
        try:
            ciphertext = self._wrap(operation, probe, _PROBE).material.decode("ascii")
            opened = self._unwrap(operation, ciphertext, _PROBE)
            is_same = compare_digest(opened, probe)
            wipe(opened)
        finally:
            wipe(probe)
        if not is_same:
            raise RootKeyRefused(f"{self._key} at {self._server.url} does not open what it wrapped")

    def current_wrapping_key_id(self) -> str:
        key = self._key.describe(self._operation())
        return self._key_id(key.latest_version)

    def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def after_fork(self) -> None:
        # Not closed: the connections are the parent's, and a thread of it may hold their lock.
        self._session, self._lock = None, RLock()

    def _operation(self) -> Operation:
        with self._lock:
            session = self._session
            if session is None:
                session = self._session = Session(self._server, self._login)
        return Operation(session)

    def _wrap(
        self, operation: Operation, material: bytearray, context: KeyVersionContext
    ) -> Wrapped:
        self._check_kind(operation)
        ciphertext = self._key.encrypt(operation, material, context.encode())
        return Wrapped(ciphertext.encode("ascii"), self._key_id(version_of(ciphertext)))

    def _unwrap(
        self, operation: Operation, ciphertext: str, context: KeyVersionContext
    ) -> KeyBuffer:
        self._check_kind(operation)
        return self._key.decrypt(operation, ciphertext, context.encode())

    def _check_kind(self, operation: Operation) -> None:
        """Look at the key once a session: whether it is derived cannot change while it is there."""
        if not operation.session.key_is_checked:
            self._key.check_kind(operation)
            operation.session.key_is_checked = True

    def _key_id(self, version: int) -> str:
        return f"{self._key.name}:v{version}"
