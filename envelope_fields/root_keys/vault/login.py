"""How a process comes by a token of Vault: it is given one, or logs in for one."""

import os
import re
import stat
from math import inf
from pathlib import Path
from time import monotonic
from typing import Any, ClassVar, Final, Protocol

import hvac

from envelope_fields.exceptions import RootKeyUnavailable
from envelope_fields.root_keys.options import OTHERS, read_private, variable
from envelope_fields.root_keys.vault.answers import Answer, Status

SERVICE_ACCOUNT_TOKEN: Final = "/var/run/secrets/kubernetes.io/serviceaccount/token"  # noqa: S105
_RENEW_AFTER: Final = 2 / 3  # of its time; the rest is for trying again


class Secret:
    """What Vault is sent to say who asks; it is not shown."""

    def __init__(self, text: str) -> None:
        self.text = text


class Token(Secret):
    """A token, and when it has to be renewed.

    Its seconds are 0 where it does not end, or where that is not known.
    """

    def __init__(self, text: str, seconds: int = 0, is_renewable: bool = False) -> None:
        super().__init__(text)
        self.seconds, self.is_renewable = seconds, is_renewable
        now = monotonic()
        self._end = now + seconds if seconds > 0 else inf
        self._due = now + seconds * _RENEW_AFTER if seconds > 0 else inf

    @property
    def has_ended(self) -> bool:
        return monotonic() >= self._end

    @property
    def is_due(self) -> bool:
        """Whether it is time to renew it, or to log in anew."""
        return monotonic() >= self._due

    def renewed(self, auth: Answer) -> "Token":
        """Return the token with the time that Vault's `renew-self` gave it.

        Where its greatest age is near, renewals get shorter: the next token comes from a login.
        """
        seconds = auth.number("lease_duration")
        return Token(self.text, seconds, auth.flag("renewable") and 2 * seconds >= self.seconds)


class Call(Protocol):
    """What a login needs of an operation: hvac's client, and answers that are sorted."""

    client: hvac.Client

    def use(self, token: Token) -> None: ...

    def answer(self, question: Any) -> Answer: ...


class Login(Protocol):
    """A way to come by a token.

    Attributes:
        makes_tokens: whether each token is new, and known to be good.
    """

    makes_tokens: bool

    def token(self, call: Call) -> Token:
        """Return a token, from credentials that are read now.

        Raises:
            RootKeyUnavailable: the credentials are not there, or Vault does not take them.
        """


class GivenToken:
    """A token from the environment, or from a file in which an agent may put a new one."""

    makes_tokens = False

    def __init__(self, env: str | None, file: Path | None) -> None:
        self._env, self._file = env, file

    def __repr__(self) -> str:
        return f"the token in {self._file or self._env}"

    def token(self, call: Call) -> Token:
        given = _from_env(self._env or "") if self._file is None else _from_file(self._file)
        token = Token(given.text)
        call.use(token)
        answer = call.answer(lambda: call.client.auth.token.lookup_self())
        if answer.status is not Status.OK:  # it may have ended, or may not look itself up
            return token
        data = answer.part("data")
        return Token(token.text, data.number("ttl"), data.flag("renewable"))


class _Role:
    """A role, and a file with what proves that it is ours."""

    makes_tokens = True
    method: ClassVar[str]
    closed_to: ClassVar[int] = OTHERS | stat.S_IWGRP

    def __init__(self, role: str, file: Path, mount_point: str) -> None:
        self._role, self._file, self._mount_point = role, file, mount_point

    def token(self, call: Call) -> Token:
        proof = _from_file(self._file, self.closed_to)
        login = getattr(call.client.auth, self.method).login
        answer = call.answer(lambda: login(self._role, proof.text, mount_point=self._mount_point))
        if answer.status is not Status.OK:
            raise RootKeyUnavailable(
                f"Vault does not accept {self!r} ({answer.status.value}). Renew the credentials, "
                "and see that the login method and the role are there"
            )
        auth = answer.part("auth")
        # No variable has the token: error reports show those of each frame.
        if not auth.text("client_token"):  # such as where a second factor is asked for
            raise answer.unreadable()
        return Token(
            auth.text("client_token"), auth.number("lease_duration"), auth.flag("renewable")
        )


class AppRole(_Role):
    """A role's id, and its secret id in a file."""

    method = "approle"

    def __repr__(self) -> str:
        return f"the AppRole at auth/{self._mount_point} with {self._file}"


class Kubernetes(_Role):
    """A role of Kubernetes' service accounts, and the token of one, which Kubernetes renews."""

    method = "kubernetes"
    closed_to = 0  # Kubernetes sets its mode, for all who run there

    def __repr__(self) -> str:
        return f"the role {self._role} at auth/{self._mount_point} with {self._file}"


def _from_env(name: str) -> Secret:
    return _secret(os.environ.get(name, ""), variable("token_env", name))


def _from_file(path: Path, closed_to: int = OTHERS | stat.S_IWGRP) -> Secret:
    """Read a file that an agent or Kubernetes may have written, for a group to read."""
    try:
        return _secret(read_private(path, "a secret", closed_to), f"the file {path}")
    except FileNotFoundError:
        raise RootKeyUnavailable(f"the file {path} does not exist") from None


def _secret(text: str, source: str) -> Secret:
    """Return a secret that can stand in a header; the error of one that cannot would show it."""
    secret = Secret(text.strip())
    del text  # error reports show the variables of each frame
    if not re.fullmatch(r"[!-~]+", secret.text):
        raise RootKeyUnavailable(f"{source} holds no token, and no secret id")
    return secret
