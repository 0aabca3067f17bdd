"""The client of Google Cloud KMS, and where its credentials come from.

It talks REST. A gRPC channel has threads and locks, with which a child that was forked later can
hang; over REST there is a `requests` session, which a forked process replaces.
"""

import logging
from functools import partial
from typing import Any, Final

import google.auth
from google.api_core.client_options import ClientOptions
from google.auth.transport.requests import Request
from google.cloud import kms_v1 as kms
from google.cloud.kms_v1.services.key_management_service.transports import rest

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
