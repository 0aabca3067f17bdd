"""What the operations of a process have in common: connections, a token, and what is known."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from threading import Lock
from typing import Any, NamedTuple

from envelope_fields.exceptions import RootKeyUnavailable
from envelope_fields.root_keys.base import locked
from envelope_fields.root_keys.vault import http
from envelope_fields.root_keys.vault.answers import Answer, Status, answer_of
from envelope_fields.root_keys.vault.login import Login, Token


class Server(NamedTuple):
    """Where Vault is, and how many seconds an attempt may take."""

    url: str
    namespace: str | None
    ca_file: str | os.PathLike[str] | None
    timeout: float


class Session:
    """Connections and a token, which operations share until it is closed.

    A token is renewed by the operation that finds two thirds of its time over; nothing runs
    between operations. Others that need the token wait meanwhile, within their time.

    Raises:
        ValueError: `ca_file` cannot be used.
    """

    def __init__(self, server: Server, login: Login) -> None:
        self.server, self.login = server, login
        self.key_is_checked = False  # whether the key was looked at in this session
        self.connections = http.connections(server.url, server.ca_file)
        self._token: Token | None = None
        self._lock = Lock()

    def close(self) -> None:
        """Close the connections that are not in use."""
        self.connections.close()

    def token(self, operation: "Operation") -> Token:
        """Return a token that has not ended, renewed or new where it is time for that."""
        token = self._token
        if token is not None and not token.is_due:
            return token
        with self._locked(operation):
            if self._token is None or self._token.is_due:
                self._token = self._next(self._token, operation)
            return self._token

    def token_after(self, rejected: Token | None, operation: "Operation") -> Token:
        """Return another token than one that Vault does not know; one thread logs in for all."""
        with self._locked(operation):
            if self._token is None or self._token is rejected:
                self._token = operation.logged_in()
            return self._token

    def _next(self, token: Token | None, operation: "Operation") -> Token:
        try:
            return (token and operation.renewed(token)) or operation.logged_in()
        except RootKeyUnavailable:
            if token is None or token.has_ended:
                raise
            return token  # there is a third of its time for trying again

    def _locked(self, operation: "Operation") -> AbstractContextManager[None]:
        waiting = f"{self.server.url}: another thread still waits for a token"
        return locked(self._lock, operation.deadline.remaining(), waiting)


class Operation:
    """One use of the root key, by one thread, which ends in time.

    Raises:
        RootKeyUnavailable: no token is to be had.
    """

    def __init__(self, session: Session) -> None:
        self.session, server = session, session.server
        self.deadline = http.Deadline(server.timeout)
        connections, namespace = session.connections, server.namespace
        self.client = http.client(connections, server.url, namespace, self.deadline)
        self._token: Token | None = None
        self.use(session.token(self))

    @property
    def url(self) -> str:
        """Where Vault is, for messages."""
        return self.session.server.url

    @property
    def transit(self) -> Any:
        """What hvac has for the transit engine."""
        return self.client.secrets.transit

    def use(self, token: Token) -> None:
        """Send a token with what is asked from now on."""
        self._token, self.client.token = token, token.text

    def answer(self, question: Callable[[], Any]) -> Answer:
        """Put a question, whatever the token is; errors as for `answer_of`."""
        return answer_of(self.url, question)

    def ask(self, question: Callable[[], Any]) -> Answer:
        """Put a question; where the token has ended, once more with another one.

        Returns:
            What was answered. Where that is `FORBIDDEN`, a policy says so.

        Raises:
            RootKeyUnavailable: there is no answer, or no token that Vault knows.
        """
        answer = self.answer(question)
        if answer.status is not Status.FORBIDDEN or self._is_known():
            return answer
        self.use(self.session.token_after(self._token, self))
        answer = self.answer(question)
        if answer.status is Status.FORBIDDEN and not self._is_good():
            raise RootKeyUnavailable(
                f"{self.url} does not know {self.session.login!r}: it has ended or "
                "was revoked, and another one belongs there. (Or it may not look itself up, as "
                "Vault's policy `default` allows, so that a denial by policy looks the same.)"
            )
        return answer

    def renewed(self, token: Token) -> Token | None:
        """Return the token with more time; None where it gets none, and a login has to follow."""
        if token.has_ended or not token.is_renewable:
            return None
        self.use(token)
        answer = self.answer(lambda: self.client.auth.token.renew_self())
        return token.renewed(answer.part("auth")) if answer.status is Status.OK else None

    def logged_in(self) -> Token:
        """Return a token from credentials that are read now."""
        self.client.token = ""
        return self.session.login.token(self)

    def _is_good(self) -> bool:
        return self.session.login.makes_tokens or self._is_known()

    def _is_known(self) -> bool:
        return self.answer(lambda: self.client.auth.token.lookup_self()).status is Status.OK
