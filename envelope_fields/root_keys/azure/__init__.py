"""A root key in Azure Key Vault or Managed HSM."""

import re
from typing import Final

try:
    import azure.keyvault.keys  # noqa: F401
    from azure.core import exceptions
    from azure.identity import DefaultAzureCredential
except ImportError as error:
    raise ImportError(
        f'{error}: install the client, `pip install "django-envelope-fields[azure]"`'
    ) from None

from envelope_fields.crypto.buffers import wipe
from envelope_fields.crypto.context import KeyVersionContext
from envelope_fields.exceptions import EnvelopeError, RootKeyRefused
from envelope_fields.root_keys import base
from envelope_fields.root_keys.azure.session import (
    Answered,
    Key,
    KeyVersion,
    Session,
    UnsoundAnswer,
)
from envelope_fields.root_keys.azure.wraps import Form, form_for, pack, parse
from envelope_fields.root_keys.options import WrongSetting, imported, seconds

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
_NETWORK_ERRORS: Final = (
    exceptions.ServiceRequestError,
    exceptions.ServiceResponseError,
    exceptions.IncompleteReadError,
)
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


class AzureKeyVaultRootKey(base.ServiceRootKey[Session]):
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

    def __repr__(self) -> str:
        return f"<AzureKeyVaultRootKey {self._vault}/keys/{self._name}>"

    def wrap(self, material: bytearray, context: KeyVersionContext) -> base.Wrapped:
        key = self._wrapping_key()
        try:
            form = form_for(key.type, key.operations)
        except ValueError as error:
            raise ValueError(f"{self}: {error}") from None
        joined = base.with_digest(material, context)
        try:
            body = self._ask(
                lambda: form.seal(KeyVersion(self._connected(), key.version), joined, context)
            )
        finally:
            wipe(joined)
        return base.Wrapped(pack(form, key.version, body), key.id)

    def unwrap(self, wrapped: bytes, context: KeyVersionContext) -> bytearray:
        form, version, body = parse(wrapped)
        joined = self._ask(
            lambda: form.open(KeyVersion(self._connected(), version), body, context), form
        )
        try:
            return base.without_digest(joined, context)
        finally:
            wipe(joined)

    def current_wrapping_key_id(self) -> str:
        return self._wrapping_key().id

    def _wrapping_key(self) -> Key:
        key = self._ask(lambda: self._connected().key(self._version))
        if not key.is_enabled:  # the vault would encrypt all the same
            raise RootKeyRefused(f"{self}: {REFUSED['KeyDisabled']}")
        return key

    def _connect(self) -> Session:
        if self._credential is None:
            # By itself it waits for minutes.
            limits = {"connection_timeout": self._timeout, "read_timeout": self._timeout}
            credential = DefaultAzureCredential(retry_total=1, **limits)
        else:
            credential = imported("credential", self._credential)()
        return Session(self._vault, self._name, credential, self._timeout)

    def _answered(self, error: Answered, opens: Form | None) -> EnvelopeError:
        code = next((code for code in error.codes if code in REFUSED), "")
        if NETWORK.intersection(error.codes):
            return self._unavailable("its firewall or private endpoint does not let us in")
        if opens and self._is_altered(error, code, opens):
            return self._altered()
        action = ACTIONS[error.operation]
        if opens and code in RIGHTS and base.may_wrap(self):
            return base.MayNotUnwrap(
                f"{self} lets this process wrap and not unwrap: where it has to, grant it {action}"
            )
        if code:
            what = REFUSED[code].format(operation=error.operation, action=action)
            return RootKeyRefused(f"{self}: {what}")
        if error.status == 400 and "BadParameter" in error.codes:
            return RootKeyRefused(f"{self} does not {error.operation}: is it a key of 256 bits?")
        if error.status in UNAVAILABLE:
            return self._unavailable(UNAVAILABLE[error.status])
        return self._unlisted(f"{error.operation}, HTTP {error.status}")

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

    def _failure(self, error: Exception, opens: Form | None) -> Exception:
        if isinstance(error, EnvelopeError | WrongSetting):
            return error
        if isinstance(error, Answered):
            return self._answered(error, opens)
        if isinstance(error, exceptions.ClientAuthenticationError):
            return self._unavailable("no credentials that it accepts could be had: try again")
        if isinstance(error, UnsoundAnswer):
            return self._unavailable("the vault answered something else than was asked for")
        if isinstance(error, _NETWORK_ERRORS):
            return self._unavailable("the vault could not be reached, or did not answer in time")
        return self._unlisted(type(error).__name__)
