"""Errors of Google Cloud KMS, and of what stands before it: which there are, and what they mean."""

import re
from typing import Any, Final

from google.api_core.exceptions import GoogleAPICallError, RetryError
from google.auth.exceptions import GoogleAuthError
from requests.exceptions import ChunkedEncodingError, ConnectionError, Timeout

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
