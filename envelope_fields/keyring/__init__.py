"""The only home of plaintext master keys: it unwraps, caches and uses them, and returns none.

`rows` reads key versions from the database, `wrapping` asks root keys, `wraps` are what they make,
and `opening` finds the one that opens, with one question at a time. `materials` has the plaintext,
of which `age` says for how long it is used. A `table` holds what follows from all that for
`KEY_CACHE_SECONDS`, or until a key changes in this process; the `cache` has that of the process.
`values` are encrypted and decrypted with derived keys, when the policy admits a caller; `uses` are
counted. `indexes` are MACs by search keys, under versions that `index_rows` name.
"""

from envelope_fields.keyring.cache import evict, forget
from envelope_fields.keyring.indexes import index_state
from envelope_fields.keyring.macs import mac
from envelope_fields.keyring.uses import Purpose, this_thread
from envelope_fields.keyring.values import encrypt, version_of
from envelope_fields.keyring.wrapping import check_root_key, current_wrapping_key_id, is_service
from envelope_fields.keyring.wraps import (
    Generated,
    check_version,
    check_wrap,
    generate_audit_key,
    generate_version,
    identified,
    rewrapped,
)

__all__ = [
    "Generated",
    "Purpose",
    "check_root_key",
    "check_version",
    "check_wrap",
    "current_wrapping_key_id",
    "encrypt",
    "evict",
    "forget",
    "generate_audit_key",
    "generate_version",
    "identified",
    "index_state",
    "is_service",
    "mac",
    "rewrapped",
    "this_thread",
    "version_of",
]
