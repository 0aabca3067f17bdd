"""One vault, asked by one process with one credential.

Operations are sent by the public channel of the key client. Its `CryptographyClient` works in this
process where it can: for an `oct-HSM` key, whose bits never leave the HSM, it wraps under bits that
it draws itself and forgets.
"""

import random
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.core.pipeline.policies import RetryPolicy
from azure.core.rest import HttpRequest
from azure.keyvault.keys import KeyClient
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers

from envelope_fields.crypto.buffers import KeyBuffer
from envelope_fields.exceptions import WrappedKeyAltered

RSA_TYPES: Final = frozenset({"RSA", "RSA-HSM"})


class UnsoundAnswer(Exception):
    """The vault answered with something that is not what was asked for."""


class Answered(Exception):
    """An error of the vault, without what was asked; of its codes, the inner one comes first."""

    def __init__(self, operation: str, error: Any) -> None:
        self.operation, self.status, self.codes = operation, error.status_code, _codes(error)


class Key(NamedTuple):
    """A version of a key, as the vault describes it: its attributes, and a JSON Web Key."""

    id: str
    version: str
    type: str
    operations: frozenset[str]
    is_enabled: bool
    jwk: Any


class Session:
    """Asks for a key of a vault, and for operations with it. Threads share it."""

    def __init__(self, vault: str, name: str, credential: Any, timeout: float) -> None:
        self._vault, self._name = vault, name
        self._public_keys: dict[str, RSAPublicKey] = {}
        self._client = KeyClient(
            vault,
            credential,
            retry_policy=_Retry(timeout),
            connection_timeout=timeout,
            read_timeout=timeout,
            permit_redirects=False,  # the material would be sent along
        )

    def key(self, version: str | None = None) -> Key:
        """Return a version of the key, by default the newest."""
        with _answering("get"):
            found = self._client.get_key(self._name, version)
        if found.name != self._name or version not in (None, found.properties.version):
            raise UnsoundAnswer
        return Key(
            found.id,
            found.properties.version,
            _text(found.key_type),
            frozenset(map(_text, found.key_operations or ())),
            found.properties.enabled is not False,
            found.key,
        )

    def public_key(self, version: str) -> RSAPublicKey:
        """Return the public half of a version of an RSA key, which never changes.

        Raises:
            WrappedKeyAltered: the key is of another type.
        """
        if version not in self._public_keys:
            key = self.key(version)
            if key.type not in RSA_TYPES:
                raise WrappedKeyAltered(
                    f"this master key version is wrapped as by an RSA key, and {key.id} is not "
                    "one: the row was altered"
                )
            e, n = (int.from_bytes(number, "big") for number in (key.jwk.e, key.jwk.n))
            self._public_keys[version] = RSAPublicNumbers(e, n).public_key()
        return self._public_keys[version]

    def operate(
        self, version: str, operation: str, fields: dict[str, str | bytes | bytearray]
    ) -> dict[str, KeyBuffer]:
        """Have the vault do an operation; return the bytes that it answers with."""
        path = f"/keys/{self._name}/{version}"
        body = {name: _as_text(value) for name, value in fields.items()}
        with _answering(operation):
            response = self._client.send_request(
                HttpRequest("POST", f"{path}/{operation}", json=body)
            )
            if response.status_code != 200:
                raise HttpResponseError(response=response)
        answer = response.json()
        if not str(answer.pop("kid", path)).lower().endswith(path.lower()):
            raise UnsoundAnswer  # another key did it
        return {name: _as_bytes(value) for name, value in answer.items()}


class KeyVersion:
    """A version of the key, by its name; errors as for the session."""

    def __init__(self, session: Session, name: str) -> None:
        self._session, self.name = session, name

    def operate(self, operation: str, **fields: str | bytes | bytearray) -> dict[str, KeyBuffer]:
        return self._session.operate(self.name, operation, fields)

    def public_key(self) -> RSAPublicKey:
        return self._session.public_key(self.name)


class _Retry(RetryPolicy):  # type: ignore[misc]  # its types are in another environment
    """azure-core's retries, with jitter and a bound, for POST too: no operation changes a key."""

    def __init__(self, timeout: float) -> None:
        super().__init__(
            retry_total=3, retry_connect=3, retry_read=3, retry_status=3, timeout=2 * timeout
        )
        self._longest = timeout / 2

    def configure_retries(self, options: Any) -> Any:
        return super().configure_retries(options) | {"methods": frozenset({"GET", "POST"})}

    def get_retry_after(self, response: Any) -> float | None:
        """Return what the vault asks for, which may be an hour, within the bound."""
        asked = super().get_retry_after(response)
        return None if asked is None else min(asked, self._longest)

    def get_backoff_time(self, settings: Any) -> float:
        longest = min(0.2 * 2 ** len(settings["history"]), self._longest)
        return random.uniform(0, longest)  # noqa: S311 - no key


@contextmanager
def _answering(operation: str) -> Iterator[None]:
    try:
        yield
    except HttpResponseError as error:
        if isinstance(error, ClientAuthenticationError) or error.response is None:
            raise  # the credential's, or the vault's 401
        raise Answered(operation, error) from None


def _codes(error: Any) -> tuple[str, ...]:
    try:
        outer = error.response.json()["error"]
        inner = outer.get("innererror") or outer.get("innerError") or {}
        return str(inner.get("code")), str(outer["code"])
    except Exception:  # a page of a proxy
        return ()


def _text(value: Any) -> str:
    return str(getattr(value, "value", value))  # of the library's enumerations, or none of them


def _as_text(value: str | bytes | bytearray) -> str:
    return value if isinstance(value, str) else urlsafe_b64encode(value).rstrip(b"=").decode()


def _as_bytes(text: Any) -> KeyBuffer:
    return KeyBuffer(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
