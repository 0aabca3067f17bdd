"""The client of Google Cloud KMS, where its credentials come from, and what its errors mean.

It talks REST. A gRPC channel has threads and locks, with which a child that was forked later can
hang; over REST there is a `requests` session, which a forked process replaces.
"""

import logging
import re
from functools import partial
from typing import Any, Final

import google.auth
from google.api_core.client_options import ClientOptions
from google.api_core.exceptions import GoogleAPICallError, RetryError
from google.auth.exceptions import GoogleAuthError
from google.auth.transport.requests import Request
from google.cloud import kms_v1 as kms
from google.cloud.kms_v1.services.key_management_service.transports import rest
from requests.exceptions import ChunkedEncodingError, ConnectionError, Timeout

SCOPES: Final = ("https://www.googleapis.com/auth/cloudkms",)


def connected(endpoint: str | None, timeout: float) -> Any:
    """Return a new client, with the application default credentials as they are now.

    Args:
        endpoint: the host, or the https address, of a regional or private endpoint.
        timeout: seconds for each thing that is asked about the credentials.
    """
    # By itself the library waits for two minutes for what it asks about the credentials.
    request = partial(Request(), timeout=timeout)
    credentials, _ = google.auth.default(default_scopes=SCOPES, request=request)
    options = ClientOptions(api_endpoint=endpoint) if endpoint else None
    return kms.KeyManagementServiceClient(
        credentials=credentials, transport=_transport, client_options=options
    )


def _transport(**options: Any) -> Any:
    """Return the library's REST transport, with a session that follows no redirect.

    Where a redirect leads, the material would be sent to. Tokens are asked for by a session without
    retries of its own, since they are below ours.
    """
    transport = rest.KeyManagementServiceRestTransport(**options)
    session = transport._session
    session._auth_request = Request()
    session.max_redirects = 0
    return transport


def _without_payload(record: logging.LogRecord) -> bool:
    """Take out of a debug record what was sent and answered, which holds the material."""
    for name in {"httpRequest", "httpResponse"} & vars(record).keys():
        setattr(record, name, "not shown, since it holds keys")
    return True


for _name in (rest.__name__, "google.auth.transport.requests"):
    logging.getLogger(_name).addFilter(_without_payload)


# -- Answers ---------------------------------------------------------------------------------------


# google.rpc.Code, and what to do about it.
REFUSED: Final = {
    "NOT_FOUND": "there is no such key, or none that this process may see: correct `key_name`",
    "PERMISSION_DENIED": "grant this process roles/cloudkms.cryptoKeyEncrypterDecrypter on the key",
    "FAILED_PRECONDITION": "its version is disabled or destroyed: enable or restore the version",
}
UNAVAILABLE: Final = {
    "UNAUTHENTICATED": "the credentials of this process are not accepted: they may have expired",
    "UNAVAILABLE": "Cloud KMS is unavailable",
    "DEADLINE_EXCEEDED": "Cloud KMS did not answer in time",
    "RESOURCE_EXHAUSTED": "Cloud KMS throttles this project: its quota is used up",
    "INTERNAL": "Cloud KMS had an internal error",
    # Ours, where nothing came from the service, or not as it was sent:
    "UNREACHABLE": "Cloud KMS could not be reached, or did not answer in time",
    "DAMAGED": "what was sent or answered was damaged on the way, each time",
    "NO_CREDENTIALS": "no credentials could be had for this process",
}
AGAIN: Final = UNAVAILABLE.keys() - {"UNAUTHENTICATED", "NO_CREDENTIALS"}
# For answers without a code, which balancers and proxies give.
_BY_HTTP: Final = {
    401: "UNAUTHENTICATED",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class Damaged(Exception):
    """The checksums of a request or of its answer are not those of what came."""


_BY_CLASS: Final[dict[Any, str]] = {
    Damaged: "DAMAGED",
    (ConnectionError, Timeout, ChunkedEncodingError): "UNREACHABLE",
    GoogleAuthError: "NO_CREDENTIALS",
}


def status_of(error: Exception) -> str:
    """Return the google.rpc.Code of an error, or ours; empty for what is in no list."""
    if isinstance(error, RetryError):
        error = error.cause
    for kinds, status in _BY_CLASS.items():
        if isinstance(error, kinds):
            return status
    if not isinstance(error, GoogleAPICallError):
        return ""
    try:
        answer = error.response.json()
        answer = (answer[0] if isinstance(answer, list) else answer)["error"]
        # Google's guidelines name this message: its own client goes by it, too.
        if str(answer.get("message")).startswith("The checksum in field"):
            return "DAMAGED"
        return answer["status"] if re.fullmatch("[A-Z_]{1,40}", answer["status"]) else ""
    except Exception:
        return _BY_HTTP.get(error.code, "")
