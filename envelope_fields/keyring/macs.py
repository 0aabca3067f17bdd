"""MACs under the key of the audit trail."""

from __future__ import annotations

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from envelope_fields.keyring import materials, rows
from envelope_fields.models import AuditKey

__all__ = ["mac"]


def mac(key: AuditKey, message: bytes) -> bytes:
    """Return HMAC-SHA-256 of a message (KMS: GenerateMac).

    Raises:
        ImproperlyConfigured: the root key of the key is not in the settings, or not a key.
        RootKeyRefused, RootKeyUnavailable: as the root key says.
    """
    with materials.lent_for_macs(rows.of_audit_key(key)) as material:
        hmac = HMAC(material, SHA256())
    hmac.update(message)
    return hmac.finalize()
