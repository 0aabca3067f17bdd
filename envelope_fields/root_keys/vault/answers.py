"""What Vault answers, sorted: granted, refused, and what is not an answer of its own."""

import logging
import ssl
from collections.abc import Callable
from enum import Enum
from typing import Any, Final

import requests
from hvac import exceptions

from envelope_fields.exceptions import RootKeyUnavailable

_logger = logging.getLogger("envelope_fields.root_keys")


class Status(Enum):
    """The answers of which the caller says what they mean."""

    OK = 200
    INVALID = 400
    FORBIDDEN = 403
    NOT_FOUND = 404


_ANSWERS: Final = {
    exceptions.InvalidRequest: Status.INVALID,
    exceptions.Forbidden: Status.FORBIDDEN,
    exceptions.InvalidPath: Status.NOT_FOUND,
}
_UNAVAILABLE: Final = {
    exceptions.VaultDown: "is sealed, or has no active node (503). Unseal it",
    exceptions.RateLimitExceeded: "limits the rate of requests (429)",
    exceptions.InternalServerError: "failed (500); its own log says why",
    exceptions.VaultNotInitialized: "is not initialized (501)",
    exceptions.BadGateway: "is not reached by the proxy before it (502)",
    requests.exceptions.Timeout: "did not answer in time",
    requests.exceptions.ConnectionError: "cannot be reached, broke off, or did not answer in time",
    requests.exceptions.ChunkedEncodingError: "broke off in the middle of an answer",
}
_NOT_TRUSTED: Final = (
    "does not show a certificate that is for the host in `url`, valid now, and signed by a CA in "
    "`ca_file`"
)
_NOT_VAULT: Final = (
    "did not answer as Vault does ({}). Look at what is between: a proxy, a redirect to another "
    "node, another server at this address"
)


class Answer:
    """An answer; it may hold material or a token, and shows neither."""

    def __init__(self, url: str, status: Status, content: dict[str, Any] | None = None) -> None:
        self.status = status
        self._url, self._content = url, content or {}

    def part(self, name: str) -> "Answer":
        """Return what the answer has under a name, such as `data` or `auth`."""
        return Answer(self._url, self.status, self._typed(name, dict))

    def text(self, name: str) -> str:
        """Return a text of the answer."""
        value: str = self._typed(name, str)
        return value

    def number(self, name: str) -> int:
        """Return a whole number of the answer; 0 where it has none."""
        return self._typed(name, int) if self._content.get(name) is not None else 0

    def flag(self, name: str) -> bool:
        """Return a flag of the answer; False where it has none."""
        return self._content.get(name) is True

    def texts(self, name: str) -> list[str]:
        """Return a list of texts; empty where it has none."""
        return self._typed(name, list) if name in self._content else []

    def unreadable(self) -> RootKeyUnavailable:
        """Return the error for an answer that is not what the operation returns."""
        return RootKeyUnavailable(f"{self._url} {_NOT_VAULT.format('something is missing in it')}")

    def _typed(self, name: str, kind: Any) -> Any:
        value = self._content.get(name)
        if type(value) is not kind:
            raise self.unreadable()
        return value


def answer_of(url: str, question: Callable[[], Any]) -> Answer:
    """Put a question by hvac, and return what was answered.

    Args:
        url: for messages.
        question: a call of hvac's client. What it sends is in no frame of ours, so that no report
            of an error shows it.

    Raises:
        RootKeyUnavailable: there is no answer, or one that says nothing about the key.
    """
    try:
        content = question()
    except Exception as error:
        answer, failure = _sorted(url, error)
    else:
        answer = Answer(url, Status.OK, content) if isinstance(content, dict) else None
        failure = _NOT_VAULT.format(getattr(content, "status_code", "not a JSON object"))
    if answer is None:  # outside of the handler: the error has no context, which may hold secrets
        raise RootKeyUnavailable(f"{url} {failure}.")
    return answer


def _sorted(url: str, error: Exception) -> tuple[Answer | None, str]:
    is_vaults = isinstance(error, exceptions.VaultError) and isinstance(error.errors, list)
    if is_vaults and type(error) in _ANSWERS:
        return Answer(url, _ANSWERS[type(error)]), ""
    if _is_caused_by(error, ssl.SSLCertVerificationError):
        return None, _NOT_TRUSTED
    for kind, failure in _UNAVAILABLE.items():
        if isinstance(error, kind):
            return None, failure
    name = type(error).__name__
    _logger.warning("%s: %s is in no list of errors, so it is tried again", url, name)
    return None, _NOT_VAULT.format(name)


def _is_caused_by(error: BaseException | None, kind: type[BaseException]) -> bool:
    while error is not None:
        if isinstance(error, kind):
            return True
        error = error.__cause__ or error.__context__
    return False
