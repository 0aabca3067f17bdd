"""A root key in the transit engine of OpenBao or HashiCorp Vault."""

try:
    import hvac  # noqa: F401
except ImportError:
    raise ImportError(
        "a root key in Vault needs hvac: pip install 'django-envelope-fields[vault]'"
    ) from None

from envelope_fields.root_keys.vault.root_key import VaultTransitRootKey

__all__ = ["VaultTransitRootKey"]
