"""What the package refuses, in the words of HTTP."""

from __future__ import annotations

from typing import Any

from rest_framework.exceptions import APIException

from envelope_fields.api.idempotency import HEADER
from envelope_fields.api.rights import no_rotation, not_there
from envelope_fields.census import CensusFailed
from envelope_fields.exceptions import (
    DecryptionFailed,
    EnvelopeError,
    KeyAccessDenied,
    MalformedEnvelope,
    MasterKeyNotFound,
    MasterKeyUnusable,
    RootKeyRefused,
    RootKeyUnavailable,
)
from envelope_fields.grants import LastGrant
from envelope_fields.lifecycle import (
    AliasRefused,
    AliasTaken,
    BadWaitingPeriod,
    ConfirmationRequired,
    KeyInUse,
)
from envelope_fields.lifecycle.confirmation import as_utc
from envelope_fields.rotation import NoSuchField, NoSuchRun, RotationUnderWay, RunNotPossible
from envelope_fields.jobs.dispatch import IdempotencyKeyReused
from envelope_fields.jobs.dispatch import NoWorker, WorkerUnreachable

RETRY_SECONDS = 5


class Refusal(APIException):
    """An error of this package as an answer.

    Attributes:
        field: what of the request it is about; empty where it is about none of it.
        members: what the problem says beside its words.
        wait: after how many seconds it is worth another try; None if it is not.
    """

    def __init__(
        self,
        error: Exception,
        status: int,
        code: str,
        *,
        field: str = "",
        members: dict[str, Any] | None = None,
        wait: int | None = None,
    ) -> None:
        self.status_code = status
        super().__init__(str(error), code)
        self.field = field
        self.members = members or {}
        self.wait = wait


class PreconditionFailed(APIException):
    """Somebody was faster: what was to be changed is not what the client has seen."""

    status_code = 412
    default_detail = "It was changed meanwhile. Read it again; If-Match names what you have seen."
    default_code = "precondition_failed"


# The first class that fits: status, code, and the field of the request.
_ANSWERS: tuple[tuple[type[EnvelopeError], int, str, str], ...] = (
    (AliasRefused, 403, "permission_denied", "alias"),
    (KeyAccessDenied, 403, "permission_denied", ""),
    (AliasTaken, 409, "alias_taken", "alias"),
    (BadWaitingPeriod, 400, "bad_waiting_period", "days"),
    (ConfirmationRequired, 409, "confirmation_required", "confirm"),
    (LastGrant, 409, "last_grant", "override"),
    (KeyInUse, 409, "key_in_use", ""),
    (RotationUnderWay, 409, "rotation_under_way", ""),
    (RunNotPossible, 409, "rotation_over", ""),
    (NoWorker, 409, "no_worker", ""),
    (WorkerUnreachable, 503, "worker_unreachable", ""),
    (IdempotencyKeyReused, 422, "idempotency_key_reused", HEADER),
    (NoSuchField, 400, "no_such_field", "fields"),
    (MasterKeyUnusable, 409, "key_unusable", ""),
    (MalformedEnvelope, 400, "malformed_envelope", "ciphertext"),
    (DecryptionFailed, 400, "decryption_failed", "ciphertext"),
    (CensusFailed, 503, "census_failed", ""),
    (RootKeyUnavailable, 503, "root_key_unavailable", ""),
    (RootKeyRefused, 502, "root_key_refused", ""),
)


def refusal_of(error: EnvelopeError) -> APIException | None:
    """Return the answer to an error of this package; None where it is a fault of the server."""
    if isinstance(error, MasterKeyNotFound):
        return not_there()
    if isinstance(error, NoSuchRun):
        return no_rotation()
    for kind, status, code, field in _ANSWERS:
        if isinstance(error, kind):
            wait = RETRY_SECONDS if status == 503 else None
            return Refusal(error, status, code, field=field, members=_members(error), wait=wait)
    return None


def _members(error: EnvelopeError) -> dict[str, Any]:
    if isinstance(error, KeyInUse):
        return {
            "rows": [
                {
                    "database": row.database,
                    "model": row.model,
                    "field": row.field,
                    "values": row.values,
                }
                for row in error.rows
            ]
        }
    if isinstance(error, ConfirmationRequired):
        last = error.last_use
        return {"expected": error.expected, "last_use": last and as_utc(last)}
    if isinstance(error, RotationUnderWay | WorkerUnreachable | IdempotencyKeyReused):
        return {"rotation": str(error.run.pk)} if error.run else {}
    return {}
