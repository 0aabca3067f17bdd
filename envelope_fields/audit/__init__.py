"""The audit trail: who did what with which key, so that what is changed afterwards shows.

Rooms: `texts` makes values fit their columns, `canonical` is the bytes that a MAC is made of,
`trail` appends under the lock of the head row, `denied` stores what the policy refused, `mac_key`
has the key, `verification` walks the trail, `news` tells of each event when it is committed,
`beginning` and `triggers` come with `migrate`.
"""

from envelope_fields.audit.denied import store_waiting as store_denied
from envelope_fields.audit.errors import AuditTrailBroken
from envelope_fields.audit.findings import Cause, Problem, Verification
from envelope_fields.audit.mac_key import prepared
from envelope_fields.audit.record import record
from envelope_fields.audit.trail import Head, head, hold
from envelope_fields.audit.verification import verify

__all__ = [
    "AuditTrailBroken",
    "Cause",
    "Head",
    "Problem",
    "Verification",
    "head",
    "hold",
    "prepared",
    "record",
    "store_denied",
    "verify",
]
