"""A root key in a hardware security module, through PKCS#11.

What it stores is, for each master key version:

    offset  bytes  what
    0       1      format, 01
    1       1      mechanism: 01 AES_GCM, 02 AES_KEY_WRAP_KWP, 03 AES_KEY_WRAP_PAD
    2       1      n, the length of the IV: 12 to 16 for AES_GCM, else 0
    3       n      the IV that the token used
    3+n     m      AES_GCM: the encrypted material and its tag, 48 bytes. The additional data is
                   `context.encode()`. Else: the wrapped object that held material ‖ SHA-256 of
                   `context.encode()`; 72 bytes by RFC 5649, or 80 of a token that pads otherwise
"""

try:
    import PyKCS11  # noqa: F401
except ImportError:
    raise ImportError(
        'a root key in an HSM needs PyKCS11: pip install "django-envelope-fields[pkcs11]"'
    ) from None

from envelope_fields.root_keys.pkcs11.root_key import Pkcs11RootKey

__all__ = ["Pkcs11RootKey"]
