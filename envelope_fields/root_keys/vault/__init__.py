"""A root key in the transit engine of OpenBao or HashiCorp Vault."""

import os
import re
from ipaddress import ip_address
from pathlib import Path
from threading import RLock
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

try:
    import hvac  # noqa: F401
except ImportError:
    raise ImportError(
        "a root key in Vault needs hvac: pip install 'django-envelope-fields[vault]'"
    ) from None

from envelope_fields.crypto.context import KeyVersionContext
from envelope_fields.root_keys.base import RootKey, Wrapped, check_round_trip
from envelope_fields.root_keys.options import seconds
from envelope_fields.root_keys.vault import login
from envelope_fields.root_keys.vault.key import TransitKey, version_of
from envelope_fields.root_keys.vault.session import Operation, Server, Session

# Names are parts of paths: with `../` in one, what is wrapped would go to another engine.
_KEY: Final = re.compile(r"[A-Za-z0-9_-]{1,200}")
_PATH: Final = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*")
# No user and password, no query: nothing secret, and nothing to which paths cannot be added.
_URL: Final = re.compile(
    r"https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?(/[A-Za-z0-9._~-]+)*/?"
)
_NAMESPACE: Final = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*/?")
# What it stands for in the options, and what goes with it.
_PARTNERS: Final = {
    "token_env": (),
    "token_file": (),
    "role_id": ("secret_id_file", "auth_mount_point"),
    "kubernetes_role": ("kubernetes_token_file", "auth_mount_point"),
}


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
        self._server = _server(url, namespace, ca_file, timeout)
        self._key = TransitKey(
            _matching("mount_point", mount_point, _PATH), _matching("key", key, _KEY)
        )
        self._login = _login(
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
        ciphertext = self._key.encrypt(self._operation(), material, context.encode())
        return Wrapped(ciphertext.encode("ascii"), self._key_id(version_of(ciphertext)))

    def unwrap(self, wrapped: bytes, context: KeyVersionContext) -> bytearray:
        ciphertext = wrapped.decode("latin-1")
        version_of(ciphertext)  # before anything is asked
        return self._key.decrypt(self._operation(), ciphertext, context.encode())

    def check(self) -> None:
        self._begun().key_is_checked = False
        check_round_trip(self)

    def current_wrapping_key_id(self) -> str:
        return self._key_id(self._key.describe(Operation(self._begun())).latest_version)

    def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def after_fork(self) -> None:
        # Not closed: the connections are the parent's, and a thread of it may hold their lock.
        self._session, self._lock = None, RLock()

    def _begun(self) -> Session:
        with self._lock:
            session = self._session
            if session is None:
                session = self._session = Session(self._server, self._login)
        return session

    def _operation(self) -> Operation:
        """Begin an operation with a key that was looked at once in the session.

        Whether a key is derived cannot change while it is there.
        """
        operation = Operation(session := self._begun())
        if not session.key_is_checked:
            self._key.check_kind(operation)
            session.key_is_checked = True
        return operation

    def _key_id(self, version: int) -> str:
        return f"{self._key.name}:v{version}"


# -- Options, which are checked before anything is asked -------------------------------------------


def _server(url: Any, namespace: Any, ca_file: Any, timeout: Any) -> Server:
    if namespace is not None:
        _matching("namespace", namespace, _NAMESPACE)
    if ca_file is not None:
        _text("ca_file", ca_file, str | os.PathLike)
    return Server(_url(url), namespace, ca_file, seconds(timeout))


def _login(**options: Any) -> login.Login:
    """Return the way to a token that the options name, of which most are None."""
    given = {name: value for name, value in options.items() if value is not None}
    ways = given.keys() & _PARTNERS.keys()
    if len(ways) != 1:
        raise TypeError(f"give exactly one of the options {', '.join(_PARTNERS)}")
    [way] = ways
    for name in given.keys() - {way, *_PARTNERS[way]}:
        raise TypeError(f"the option {name} does not go with {way}")
    for name, value in given.items():
        _text(name, value, str | os.PathLike if name.endswith("_file") else str)
    return _way_to_token(way, given)


def _way_to_token(way: str, given: dict[str, Any]) -> login.Login:
    if way == "token_env":
        return login.GivenToken(given["token_env"], None)
    if way == "token_file":
        return login.GivenToken(None, Path(given["token_file"]))
    usual = "approle" if way == "role_id" else "kubernetes"
    mounted_at = _matching("auth_mount_point", given.get("auth_mount_point", usual), _PATH)
    if way == "kubernetes_role":
        token_file = Path(given.get("kubernetes_token_file", login.SERVICE_ACCOUNT_TOKEN))
        return login.Kubernetes(given["kubernetes_role"], token_file, mounted_at)
    if "secret_id_file" not in given:
        raise TypeError("role_id needs secret_id_file")
    return login.AppRole(given["role_id"], Path(given["secret_id_file"]), mounted_at)


def _url(url: Any) -> str:
    _text("url", url)
    if not _URL.fullmatch(url):
        raise ValueError("url is an address such as https://vault.example.com:8200")
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_here(parts.hostname)):
        raise ValueError("url begins with https: what is wrapped is sent there")
    return str(url).rstrip("/")


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _matching(name: str, value: Any, pattern: re.Pattern[str]) -> str:
    _text(name, value)
    if not pattern.fullmatch(value):
        raise ValueError(
            f"{name} has other characters than letters, digits, - and _"
            f"{'' if pattern is _KEY else ', with / between names'}, or is too long"
        )
    return str(value)


def _text(name: str, value: Any, kinds: Any = str) -> None:
    if not isinstance(value, kinds) or not os.fspath(value):
        raise TypeError(f"{name} is text, and not empty")
