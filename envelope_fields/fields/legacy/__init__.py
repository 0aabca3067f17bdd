"""Readers of what other packages have stored; none of them has to be installed.

Each is declared with the names of settings, and has no keys itself: those are in the keyring while
they are used. The formats are in docs/reference/legacy-formats.md.
"""

from envelope_fields.fields.legacy.aes import Mirage, SearchableEncryptedFields
from envelope_fields.fields.legacy.base import LegacyFormat, LegacyValue, Plaintext
from envelope_fields.fields.legacy.django_cryptography import DjangoCryptography
from envelope_fields.fields.legacy.fernet import (
    EncryptedModelFields,
    FernetEncryptedFields,
    FernetFields,
)
from envelope_fields.fields.legacy.pgcrypto import Pgcrypto

__all__ = [
    "DjangoCryptography",
    "EncryptedModelFields",
    "FernetEncryptedFields",
    "FernetFields",
    "LegacyFormat",
    "LegacyValue",
    "Mirage",
    "Pgcrypto",
    "Plaintext",
    "SearchableEncryptedFields",
]
