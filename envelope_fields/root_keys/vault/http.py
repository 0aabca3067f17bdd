"""Connections of hvac's client, whose requests end in time.

hvac leaves time-outs and retries to requests and urllib3, where a time-out begins anew with each
byte that arrives. Here it is for the answer, so that one that trickles ends, too.
"""

import io
import os
import socket
import ssl
from functools import partial
from http.client import HTTPResponse
from time import monotonic
from typing import Any, Final

import hvac
import requests
from hvac.adapters import JSONAdapter
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, Retry, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection

_ATTEMPTS: Final = 3
_CONNECTIONS: Final = 32
# Each request can be sent again: wrapping and opening change nothing in Vault.
_RETRIES: Final = Retry(
    total=_ATTEMPTS - 1,
    read=1,
    allowed_methods=None,
    status_forcelist=(412, 429, 502, 503, 504),
    raise_on_status=False,  # hvac has an error for each
    backoff_factor=0.1,
    backoff_jitter=0.3,
    respect_retry_after_header=False,  # it may say hours
)


class Deadline:
    """When an operation of several requests has to be over.

    Args:
        timeout: seconds for one attempt of a request; all attempts take three times that.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._end = monotonic() + _ATTEMPTS * timeout

    def remaining(self) -> float:
        """Return how many seconds remain, at least 0."""
        return max(0.0, self._end - monotonic())

    def of_attempt(self) -> Timeout:
        """Return the time-out of each attempt of the next request.

        Raises:
            requests.exceptions.Timeout: there is no time for one.
        """
        remaining = self.remaining()
        if not remaining:
            raise requests.exceptions.Timeout
        return Timeout(total=min(self._timeout, remaining / _ATTEMPTS))


def connections(url: str, ca_file: str | os.PathLike[str] | None) -> requests.Session:
    """Return a pool of connections for `client`; nothing is connected yet.

    Raises:
        ValueError: `ca_file` is not there, or holds no certificate.
    """
    session = requests.Session()
    # Given with each request, where variables such as REQUESTS_CA_BUNDLE do not override it.
    session.verify = _checked(ca_file) if ca_file is not None else True
    # Neither proxies nor ~/.netrc between this process and an agent beside it.
    session.trust_env = url.startswith("https:")
    for scheme in _POOLS:
        session.mount(f"{scheme}://", _Adapter(max_retries=_RETRIES, pool_maxsize=_CONNECTIONS))
    return session


def client(
    session: requests.Session, url: str, namespace: str | None, deadline: Deadline
) -> hvac.Client:
    """Return a client of hvac without a token, for one operation in one thread.

    It follows no redirect: the token and what is wrapped would go wherever that says.
    """
    return hvac.Client(
        url=url,
        token="",  # none: hvac would look for one in HOME
        namespace=namespace,
        session=session,
        allow_redirects=False,
        adapter=partial(_InTime, deadline=deadline),
    )


def _checked(ca_file: str | os.PathLike[str]) -> str:
    path = os.fspath(ca_file)
    try:
        ssl.create_default_context(cafile=path)
    except OSError as error:  # an SSLError, too
        raise ValueError(
            f"ca_file, {path}, cannot be used: {error.strerror}. It has to hold "
            "the certificate of the CA that signed Vault's, as PEM"
        ) from None
    return path


class _InTime(JSONAdapter):  # type: ignore[misc]  # hvac has no types
    """Sends the requests of hvac's client, each with the time that remains for it."""

    def __init__(self, *, deadline: Deadline, **options: Any) -> None:
        super().__init__(**options)
        self._deadline = deadline

    def request(self, *args: Any, **options: Any) -> Any:
        return super().request(*args, timeout=self._deadline.of_attempt(), **options)


class _TimedReader(io.RawIOBase):
    """Reads a socket until the time-out that it has now is over, however much arrives."""

    def __init__(self, sock: socket.socket, raw: io.RawIOBase) -> None:
        self._socket, self._raw = sock, raw
        timeout = sock.gettimeout()
        self._end = None if timeout is None else monotonic() + timeout

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._end is not None:
            remaining = self._end - monotonic()
            if remaining <= 0:
                raise TimeoutError("the answer did not end in time")
            self._socket.settimeout(remaining)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _TimedResponse(HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.fp: Any = io.BufferedReader(_TimedReader(sock, self.fp.detach()))


class _Connection(HTTPConnection):
    response_class = _TimedResponse


class _TLSConnection(HTTPSConnection):
    response_class = _TimedResponse


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _TLSConnection


_POOLS: Final = {"http": _Pool, "https": _TLSPool}


class _Adapter(HTTPAdapter):
    """Has urllib3 make connections of this module."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, *args: Any, **options: Any) -> Any:
        manager = super().proxy_manager_for(*args, **options)
        manager.pool_classes_by_scheme = _POOLS
        return manager
