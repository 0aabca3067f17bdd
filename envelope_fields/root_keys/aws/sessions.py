"""Sessions and clients of boto3, and where their credentials come from."""

import logging
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from threading import Lock
from typing import Any, Final
from urllib.parse import urlsplit

from boto3.session import Session
from botocore.config import Config
from botocore.credentials import (
    AssumeRoleCredentialFetcher,
    CredentialProvider,
    CredentialResolver,
    DeferredRefreshableCredentials,
)
from botocore.exceptions import NoCredentialsError
from botocore.session import Session as BotocoreSession

from envelope_fields.root_keys.base import locked
from envelope_fields.root_keys.options import WrongSetting, imported, seconds

_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
# They log requests, answers and tokens at the level DEBUG.
_LOGGERS: Final = ("botocore.auth", "botocore.endpoint", "botocore.parsers")
_ROLE_ARN: Final = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{12}:role/[A-Za-z0-9_+=,.@/-]+")
_WAITS: Final = 3  # times the time-out, for another thread that begins a session

_in_call: ContextVar[bool] = ContextVar("_in_call", default=False)


def _loggable(record: logging.LogRecord) -> bool:
    return record.levelno > logging.DEBUG or not _in_call.get()


for _name in _LOGGERS:
    logging.getLogger(_name).addFilter(_loggable)


@contextmanager
def unlogged() -> Iterator[None]:
    """Keep requests and answers of this thread, which hold material, out of botocore's logs."""
    token = _in_call.set(True)
    try:
        yield
    finally:
        _in_call.reset(token)


class Clients:
    """Clients of KMS, one a region, in sessions that begin when they are first needed.

    A client may be used by several threads at once; sessions and clients are made by one.

    Args:
        timeout: seconds for the answer to an attempt, of which there are two; to connect takes
            half of that at most.
        endpoint_url, role_arn, session, use_fips_endpoint: as `AwsKmsRootKey` has them.
    """

    def __init__(
        self,
        *,
        endpoint_url: str | None,
        role_arn: str | None,
        session: str | None,
        use_fips_endpoint: bool,
        timeout: float,
    ) -> None:
        _check(endpoint_url, role_arn, session, use_fips_endpoint)
        self._endpoint_url, self._timeout = endpoint_url, seconds(timeout)
        self._factory, self._role_arn = session, role_arn
        self._config = Config(
            connect_timeout=timeout / 2,
            read_timeout=timeout,
            retries={"mode": "standard", "total_max_attempts": 2},
            max_pool_connections=32,
            use_fips_endpoint=use_fips_endpoint or None,  # None is what the environment says
            user_agent_extra="envelope_fields",
        )
        self.after_fork()

    def after_fork(self) -> None:
        """Forget all that a parent has begun, and close nothing of it."""
        self._lock = Lock()
        self._begun: dict[str | None, Any] = {}

    def of(self, region: str | None) -> Any:
        """Return the client of a region."""
        client = self._begun.get(region)
        if client is None:
            waiting = "another thread is waiting for AWS credentials. Try again"
            with locked(self._lock, _WAITS * self._timeout, waiting):
                begun = self._begun  # and not what another thread begins anew meanwhile
                client = begun.get(region)
                if client is None:
                    client = begun[region] = self._made(region)
        return client

    def renew(self, client: Any) -> None:
        """Begin sessions anew, unless another thread has since a client was returned."""
        if client is None or client in self._begun.values():
            self.close()

    def close(self) -> None:
        """Close what was begun; calls that are under way end as they would have."""
        begun, self._begun = self._begun, {}
        for client in list(begun.values()):
            client.close()

    def _made(self, region: str | None) -> Any:
        # A session of its own, since where one region does not answer, its STS may not, either.
        session = _called(self._factory) if self._factory else self._default_session()
        if self._role_arn:
            session = self._with_role(session, self._role_arn, region)
        url = self._endpoint_url and self._endpoint_url.replace("{region}", region or "")
        client = session.client("kms", region_name=region, endpoint_url=url, config=self._config)
        _check_encrypted(client.meta.endpoint_url)
        if self._config.use_fips_endpoint and "fips" not in client.meta.endpoint_url:
            raise WrongSetting(
                f"use_fips_endpoint is set, and AWS_ENDPOINT_URL or the profile names the endpoint "
                f"{client.meta.endpoint_url}: leave out one of them"
            )
        return client

    def _default_session(self) -> Session:
        session = BotocoreSession()
        # So that clients which get credentials do not wait for minutes.
        session.set_default_client_config(self._config)
        return Session(botocore_session=session)

    def _with_role(self, source: Session, role_arn: str, region: str | None) -> Session:
        """Return a session with the credentials of a role, renewed from those of `source`."""
        trusted = source.get_credentials()
        if trusted is None:
            raise NoCredentialsError
        region = region or source.region_name
        fetcher = AssumeRoleCredentialFetcher(
            partial(source.client, region_name=region, config=self._config),
            trusted,
            role_arn,
            extra_args={"RoleSessionName": _role_session_name()},
        )
        session = BotocoreSession()
        session.register_component("credential_provider", CredentialResolver([_Role(fetcher)]))
        return Session(botocore_session=session, region_name=region)


class _Role(CredentialProvider):  # type: ignore[misc]  # botocore has no types
    METHOD = "assume-role"

    def __init__(self, fetcher: AssumeRoleCredentialFetcher) -> None:
        super().__init__()
        self._fetcher = fetcher

    def load(self) -> DeferredRefreshableCredentials:
        return DeferredRefreshableCredentials(self._fetcher.fetch_credentials, self.METHOD)


def _called(path: str) -> Session:
    session = imported("session", path)()
    if not isinstance(session, Session):
        raise WrongSetting(f"session names {path}, which returns no boto3.session.Session")
    return session


def _role_session_name() -> str:
    host = re.sub(r"[^\w.-]", "-", socket.gethostname(), flags=re.ASCII)
    return f"envelope_fields@{host}"[:64]


def _check(endpoint_url: Any, role_arn: Any, session: Any, use_fips_endpoint: Any) -> None:
    texts = {"endpoint_url": endpoint_url, "role_arn": role_arn, "session": session}
    for name, value in texts.items():
        if not isinstance(value, str | None):
            raise TypeError(f"{name} is text")
    if endpoint_url is not None:
        if use_fips_endpoint:
            raise ValueError("with endpoint_url, leave out use_fips_endpoint and name a FIPS URL")
        _check_encrypted(endpoint_url)
    if role_arn is not None and not _ROLE_ARN.fullmatch(role_arn):
        raise ValueError(f"role_arn is {role_arn!r}, and not the ARN of a role")
    if session is not None and "." not in session:
        raise ValueError(f"session is {session!r}, and not the dotted path of a function")


def _check_encrypted(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise WrongSetting(f"the endpoint {url!r} is not a URL that begins with https://")
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise WrongSetting(
            f"the endpoint {url} takes master keys unencrypted: name one that begins with https:// "
            "in endpoint_url, or in AWS_ENDPOINT_URL_KMS"
        )
