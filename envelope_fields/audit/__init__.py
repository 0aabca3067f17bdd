"""The audit trail: who did what with which key, so that what is changed afterwards shows.

`events` are what is recorded, `trail` appends them under the lock of the head row, with MACs by a
key of its own, and `verification` walks it; `triggers` come with `migrate`. `denials` are what the
policy refused, and `uses` what keys were used for: both wait in a buffer of `write_behind` until
they can be written.
"""

from envelope_fields.audit.denials import store as store_denied
from envelope_fields.audit.events import Head
from envelope_fields.audit.trail import AuditTrailBroken, act, head, hold, record, record_each
from envelope_fields.audit.verification import Cause, Problem, Verification, verify

__all__ = [
    "AuditTrailBroken",
    "Cause",
    "Head",
    "Problem",
    "Verification",
    "act",
    "head",
    "hold",
    "record",
    "record_each",
    "store_denied",
    "verify",
]
