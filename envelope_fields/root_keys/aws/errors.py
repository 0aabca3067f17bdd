"""What goes wrong with AWS KMS, sorted: unavailable, refused, altered, or a wrong setting.

By code, as the KMS API reference lists them for Encrypt and Decrypt, without "Exception" at their
end. What is in no list is unavailable, and logged.
"""

import logging
import re
from typing import Final

from botocore import exceptions as botocore

from envelope_fields.exceptions import RootKeyRefused, RootKeyUnavailable, WrappedKeyAltered
from envelope_fields.root_keys.base import MayNotUnwrap
from envelope_fields.root_keys.options import WrongSetting

REFUSED: Final = {
    "Disabled": "the key is disabled. Enable it",
    "IncorrectKey": "another key wrapped this. Name that one, which wrapping_key_id shows, as one "
    "more root key. An alias in key_id may name another key than before",
    "InvalidGrantToken": "a grant token is not valid",
    "InvalidKeyUsage": "key_id must name a symmetric key for encryption (KeySpec "
    "SYMMETRIC_DEFAULT, KeyUsage ENCRYPT_DECRYPT)",
    "KMSInvalidState": "the state of the key does not allow it. Cancel its deletion, import its "
    "material, or connect its key store",
    "NotFound": "no such key is there. Correct key_id or region",
}
DENIED: Final = "AccessDenied"
ALTERED: Final = "InvalidCiphertext"
UNAVAILABLE: Final = frozenset(
    {"DependencyTimeout", "KMSInternal", "KeyUnavailable", "LimitExceeded", "Throttling"}
)
OUR_CREDENTIALS: Final = frozenset({
    "ExpiredToken", "IncompleteSignature", "InvalidClientTokenId", "InvalidSignature",
    "MissingAuthenticationToken", "RequestExpired", "SignatureDoesNotMatch", "UnrecognizedClient",
})  # fmt: skip
_WRONG_SETTINGS: Final = (
    botocore.BaseEndpointResolverError,  # also NoRegionError
    botocore.EndpointProviderError,
    botocore.InvalidRegionError,
)
_NETWORK: Final = (botocore.ConnectionError, botocore.HTTPClientError)
_NO_CREDENTIALS: Final = (
    OSError,  # such as the file of a web identity token that is not there
    RuntimeError,  # credentials that were renewed, and are expired still
    botocore.CredentialRetrievalError,
    botocore.MetadataRetrievalError,
    botocore.NoCredentialsError,
    botocore.PartialCredentialsError,
    botocore.ProfileNotFound,
    botocore.SSOError,
    botocore.TokenRetrievalError,
)
_OPERATIONS: Final = ("Encrypt", "Decrypt")
_MESSAGE_LENGTH: Final = 300

_logger = logging.getLogger("envelope_fields.root_keys")


class CredentialsUnavailable(RootKeyUnavailable):
    """There are no credentials, or AWS does not accept them: ours to mend, and no refusal."""


class RoleUnavailable(CredentialsUnavailable):
    """The role of the settings is not there, or does not let us assume it."""


class MayNotWrap(RootKeyRefused):
    """This process has no right to Encrypt."""


def code_of(error: Exception) -> str:
    """Return the code of a service's error, without "Exception"; empty for any other error."""
    if not isinstance(error, botocore.ClientError):
        return ""
    code = str(error.response.get("Error", {}).get("Code", ""))
    # Whatever answers in place of the service may say anything.
    return code.removesuffix("Exception") if re.fullmatch(r"\w{1,64}", code) else "Unreadable"


def sorted_error(error: Exception, where: str) -> Exception:
    """Return the error that a root key raises for one of boto3, with its key and region."""
    if isinstance(error, RootKeyUnavailable | WrongSetting):
        return error
    if isinstance(error, botocore.ClientError):
        if error.operation_name not in _OPERATIONS:
            return _of_credentials(error, where)
        return _answered(error, where)
    if isinstance(error, _WRONG_SETTINGS):
        return WrongSetting(f"{where}: {_shown(str(error))}")
    reason = type(error).__name__
    if isinstance(error, botocore.EndpointConnectionError):
        return RootKeyUnavailable(
            f"{where}: it cannot be connected to. See that the region, or the endpoint, is right, "
            "and that the network reaches it"
        )
    if isinstance(error, _NETWORK):  # first, since some are OSErrors as well
        return RootKeyUnavailable(f"{where}: no answer ({reason}). Try again")
    if isinstance(error, _NO_CREDENTIALS):
        return CredentialsUnavailable(
            f"{where}: this process finds no AWS credentials ({reason}). See boto3's chain of "
            "credentials, and the options role_arn and session"
        )
    return unlisted(reason, where)


def unlisted(reason: str, where: str) -> RootKeyUnavailable:
    """Return and log the error for what is in no list."""
    _logger.error("%s: %s is in no list of errors, and taken for unavailable", where, reason)
    return RootKeyUnavailable(f"{where}: it does not answer as KMS does ({reason})")


def _answered(error: botocore.ClientError, where: str) -> Exception:
    code, operation = code_of(error), error.operation_name
    message = _shown(str(error.response["Error"].get("Message", "")))
    if code == DENIED:
        refused = MayNotWrap if operation == "Encrypt" else MayNotUnwrap
        return refused(f"{where}: kms:{operation} is not allowed. AWS says: {message}")
    if code in REFUSED:
        return RootKeyRefused(f"{where}: {REFUSED[code]}. AWS says: {code}: {message}")
    if code == ALTERED:
        return WrappedKeyAltered(
            f"{where}: it did not wrap this master key version, or for another one: the row was "
            "altered, or another key wrapped it"
        )
    if code in OUR_CREDENTIALS:
        return CredentialsUnavailable(
            f"{where}: AWS does not accept the credentials of this process, or its clock ({code})"
        )
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in UNAVAILABLE or status >= 500:
        return RootKeyUnavailable(f"{where}: not available ({code}). Try again")
    return unlisted(code, where)


def _of_credentials(error: botocore.ClientError, where: str) -> CredentialsUnavailable:
    code, operation = code_of(error), error.operation_name
    refused = operation == "AssumeRole" and code in (DENIED, "ValidationError")
    return (RoleUnavailable if refused else CredentialsUnavailable)(
        f"{where}: this process gets no AWS credentials: {operation} answers {code}"
        + (". Correct role_arn, or whom the role trusts" if refused else "")
    )


def _shown(message: str) -> str:
    """Return a message to be shown, without what may be material that was sent back to us."""
    return re.sub(r"[A-Za-z0-9+/=]{40,}", "…", " ".join(message.split()))[:_MESSAGE_LENGTH]
