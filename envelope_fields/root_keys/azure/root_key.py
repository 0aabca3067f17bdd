"""The root key: its options, and what it says when the vault does not."""

import logging
import os
import re
from collections.abc import Callable
from importlib import import_module
from typing import Any, ClassVar, Final, TypeVar

from envelope_fields.crypto.buffers import wipe
from envelope_fields.crypto.context import KeyVersionContext
from envelope_fields.exceptions import (
    EnvelopeError,
    RootKeyRefused,
    RootKeyUnavailable,
    WrappedKeyAltered,
)
from envelope_fields.root_keys.azure.session import Answered, Key, KeyVersion, Session
from envelope_fields.root_keys.azure.wraps import Form, UnsoundAnswer, form_for, pack, parse
from envelope_fields.root_keys.base import (
    MayNotUnwrap,
    RootKey,
    Wrapped,
    check_round_trip,
    may_wrap,
    seconds,
    with_digest,
    without_digest,
)

try:
    from azure.core.exceptions import (
        ClientAuthenticationError,
        IncompleteReadError,
        ServiceRequestError,
        ServiceResponseError,
    )
    from azure.identity import DefaultAzureCredential
except ImportError as error:
    raise ImportError(
        f'{error}: install the client, `pip install "django-envelope-fields[azure]"`'
    ) from None

_logger = logging.getLogger("envelope_fields.root_keys")
_Answer = TypeVar("_Answer")

# Codes of Key Vault, and what to do about them. Of two in an error the inner one is meant.
REFUSED: Final = {
    "KeyNotFound": "there is no such key: correct `key_id`",
    "KeyDisabled": "the version is disabled: enable it",
    "KeyOperationForbidden": "the key does not permit {operation}: add it to its key_ops",
    "ForbiddenByRbac": "grant this process the data action {action}",
    "ForbiddenByPolicy": "grant this process {operation} in the access policy of the vault",
    "AccessDenied": "grant this process {operation} in the access policy of the vault",
    "Forbidden": "grant this process {action}, and see whether the version is within its dates",
}
RIGHTS: Final = frozenset({"ForbiddenByRbac", "ForbiddenByPolicy", "AccessDenied", "Forbidden"})
NETWORK: Final = frozenset({"ForbiddenByFirewall", "ForbiddenByConnection"})
UNAVAILABLE: Final = {
    401: "the credentials of this process are not accepted: they may have expired",
    408: "the vault did not answer in time",
    429: "the vault throttles its callers",
    500: "the vault had an internal error",
    502: "the vault is unavailable",
    503: "the vault is unavailable",
    504: "the vault did not answer in time",
}
ACTIONS: Final = {
    "get": "keys/read",
    "encrypt": "keys/encrypt/action",
    "decrypt": "keys/decrypt/action",
    "wrapkey": "keys/wrap/action",
    "unwrapkey": "keys/unwrap/action",
    "sign": "keys/sign/action",
}
_KEY_ID: Final = re.compile(
    r"(?P<vault>https://[A-Za-z0-9.-]+(:\d{1,5})?)"
    r"/keys/(?P<name>[0-9A-Za-z-]{1,127})(/(?P<version>[0-9A-Za-z-]{1,64}))?/?"
)


class AzureKeyVaultRootKey(RootKey):
    """Wraps with a symmetric key of a Managed HSM, or with an RSA key that signs each wrap, too.

    Args:
        key_id: the identifier of the key, `https://….vault.azure.net/keys/NAME`, with a version or
            without one: then the newest wraps. Every version of the key opens what it wrapped.
        credential: the dotted path of a function, or of a class of azure.identity, that returns a
            credential. By default it is DefaultAzureCredential, with this time-out. Called anew by
            `refresh`.
        timeout: seconds that one attempt may take to connect, and to answer. A request is tried
            again for twice as long.
    """

    asks_service: ClassVar = True

    def __init__(self, *, key_id: str, credential: str | None = None, timeout: float = 5.0) -> None:
        found = _KEY_ID.fullmatch(str(key_id))
        if found is None:
            raise ValueError(
                f"key_id is {key_id!r}; write https://VAULT.vault.azure.net/keys/NAME or "
                "https://HSM.managedhsm.azure.net/keys/NAME, with or without /VERSION"
            )
        if credential is not None and "." not in str(credential):
            raise ValueError(
                f"credential is {credential!r}; write the dotted path of what returns one"
            )
        self._vault, self._name, self._version = found.group("vault", "name", "version")
        self._credential, self._timeout = credential, seconds(timeout)
        self._session: tuple[int, Session] | None = None

    def __repr__(self) -> str:
        return f"<AzureKeyVaultRootKey {self._vault}/keys/{self._name}>"

    def wrap(self, material: bytearray, context: KeyVersionContext) -> Wrapped:
        key = self._wrapping_key()
        try:
            form = form_for(key.type, key.operations)
        except ValueError as error:
            raise ValueError(f"{self}: {error}") from None
        joined = with_digest(material, context)
        try:
            body = self._ask(
                lambda session: form.seal(KeyVersion(session, key.version), joined, context)
            )
        finally:
            wipe(joined)
        return Wrapped(pack(form, key.version, body), key.id)

    def unwrap(self, wrapped: bytes, context: KeyVersionContext) -> bytearray:
        form, version, body = parse(wrapped)
        joined = self._ask(
            lambda session: form.open(KeyVersion(session, version), body, context), opens=form
        )
        try:
            return without_digest(joined, context)
        finally:
            wipe(joined)

    def check(self) -> None:
        check_round_trip(self)

    def current_wrapping_key_id(self) -> str:
        return self._wrapping_key().id

    def close(self) -> None:
        """Let go of the session; a call that is under way keeps it until it has its answer."""
        self._session = None

    def after_fork(self) -> None:
        self._session = None

    def _wrapping_key(self) -> Key:
        key = self._ask(lambda session: session.key(self._version))
        if not key.is_enabled:  # the vault would encrypt all the same
            raise RootKeyRefused(f"{self}: {REFUSED['KeyDisabled']}")
        return key

    def _ask(self, question: Callable[[Session], _Answer], opens: Form | None = None) -> _Answer:
        try:
            return question(self._connected())
        except (EnvelopeError, _WrongOption):
            raise
        except Answered as error:
            failure = self._answered(error, opens)
        except Exception as error:
            failure = self._failure(error)
        # Out of its reach: the error of a request holds the request, whose body is the material.
        raise failure

    def _connected(self) -> Session:
        session = self._session
        if session is None or session[0] != os.getpid():
            # Two threads may both make one, and each has its answer: no lock is held that a
            # child could inherit, and no thread waits for the credential of another.
            session = self._session = (os.getpid(), self._connect())
        return session[1]

    def _connect(self) -> Session:
        if self._credential is None:
            # By itself it waits for minutes.
            limits = {"connection_timeout": self._timeout, "read_timeout": self._timeout}
            credential = DefaultAzureCredential(retry_total=1, **limits)
        else:
            credential = _imported(self._credential)()
        return Session(self._vault, self._name, credential, self._timeout)

    def _answered(self, error: Answered, opens: Form | None) -> EnvelopeError:
        code = next((code for code in error.codes if code in REFUSED), "")
        if NETWORK.intersection(error.codes):
            return self._unavailable("its firewall or private endpoint does not let us in")
        if opens and self._is_altered(error, code, opens):
            return WrappedKeyAltered(
                f"{self} does not open this master key version: it is not the key that wrapped "
                "it, or the row was altered"
            )
        action = ACTIONS[error.operation]
        if opens and code in RIGHTS and may_wrap(self):
            return MayNotUnwrap(
                f"{self} lets this process wrap and not unwrap: where it has to, grant it {action}"
            )
        if code:
            what = REFUSED[code].format(operation=error.operation, action=action)
            return RootKeyRefused(f"{self}: {what}")
        if error.status == 400 and "BadParameter" in error.codes:
            return RootKeyRefused(f"{self} does not {error.operation}: is it a key of 256 bits?")
        if error.status in UNAVAILABLE:
            return self._unavailable(UNAVAILABLE[error.status])
        return self._not_listed(f"{error.operation}, HTTP {error.status}")

    def _is_altered(self, error: Answered, code: str, form: Form) -> bool:
        """Tell whether the vault does not know the bytes, or the version or form that they name."""
        if code in ("KeyNotFound", "KeyOperationForbidden"):
            newest = self._newest()
            if newest is None:
                return False
            return code == "KeyNotFound" or newest.type not in form.key_types
        return error.status == 400 and "BadParameter" in error.codes

    def _newest(self) -> Key | None:
        try:
            return self._connected().key()
        except Exception:
            return None

    def _failure(self, error: Exception) -> EnvelopeError:
        if isinstance(error, ClientAuthenticationError):
            return self._unavailable("no credentials that it accepts could be had: try again")
        if isinstance(error, UnsoundAnswer):
            return self._unavailable("the vault answered something else than was asked for")
        if isinstance(error, ServiceRequestError | ServiceResponseError | IncompleteReadError):
            return self._unavailable("the vault could not be reached, or did not answer in time")
        return self._not_listed(type(error).__name__)

    def _unavailable(self, what: str) -> RootKeyUnavailable:
        return RootKeyUnavailable(f"{self}: {what}. Try again")

    def _not_listed(self, kind: str) -> RootKeyUnavailable:
        _logger.warning("%s: an answer that is in no list: %s", self, kind)
        return self._unavailable(f"an answer that is in no list ({kind})")


class _WrongOption(ValueError):
    """An option names what is not there."""


def _imported(path: str) -> Any:
    module, _, name = path.rpartition(".")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise _WrongOption(f"credential {path} cannot be imported: {error}") from None
