"""The only home of plaintext master keys: it unwraps, caches and uses them, and returns none.

`rows` reads key versions from the database, `wrapping` asks root keys, `wraps` are what they make,
and `opening` finds the one that opens, also when material is renewed. `materials` has the
plaintext, of which `age` says for how long it is used; `questions` are what root keys are being
asked for it. A `table` holds what follows from all that for `KEY_CACHE_SECONDS`, or until a key
changes in this process; the `cache` has the table of the process. Keys are `derived` when the
policy admits a caller, where `uses` are counted, and `values` are encrypted and decrypted with
them. `indexes` are MACs by search keys, under versions that `index_rows` name.
"""

from envelope_fields.keyring.cache import evict, forget, on_refresh
from envelope_fields.keyring.handles import Handle, decrypt_sealed, load_handle
from envelope_fields.keyring.index_rows import IndexColumn, IndexSource
from envelope_fields.keyring.indexes import index_state
from envelope_fields.keyring.macs import (
    generate_mac,
    has_audit_key,
    mac,
    open_audit_key,
    verify_mac,
)
from envelope_fields.keyring.rows import refuse_uncommitted
from envelope_fields.keyring.uses import WRITE_FIELD, Purpose, here, refused
from envelope_fields.keyring.values import (
    decrypt,
    decrypt_for,
    decrypt_to_move,
    decrypt_to_verify,
    encrypt,
    encrypt_for,
    version_of,
)
from envelope_fields.keyring.wrapping import check_root_key, current_wrapping_key_id
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
    "WRITE_FIELD",
    "Generated",
    "Handle",
    "IndexColumn",
    "IndexSource",
    "Purpose",
    "check_root_key",
    "check_version",
    "check_wrap",
    "current_wrapping_key_id",
    "decrypt",
    "decrypt_for",
    "decrypt_sealed",
    "decrypt_to_move",
    "decrypt_to_verify",
    "encrypt",
    "encrypt_for",
    "evict",
    "forget",
    "generate_audit_key",
    "generate_mac",
    "generate_version",
    "has_audit_key",
    "here",
    "identified",
    "index_state",
    "load_handle",
    "mac",
    "on_refresh",
    "open_audit_key",
    "refuse_uncommitted",
    "refused",
    "rewrapped",
    "verify_mac",
    "version_of",
]
