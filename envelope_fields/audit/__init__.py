"""The audit trail: who did what with which key, so that what is changed afterwards shows.

`events` makes what is recorded fit its columns, `canonical` is the bytes that a MAC is made of,
`trail` appends under the lock of the head row, and `verification` walks it; `triggers` come with
`migrate`. `denials` are what the policy refused, and `uses` what keys were used for, stored in
`use_rows`: both wait in a buffer of `write_behind` until they can be written.
"""

from envelope_fields.audit.denials import store as store_denied
from envelope_fields.audit.events import record
from envelope_fields.audit.trail import AuditTrailBroken, Head, head, hold, prepared
from envelope_fields.audit.verification import Cause, Problem, Verification, verify

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
