"""A root key in Azure Key Vault or Managed HSM."""

from envelope_fields.root_keys.azure.root_key import AzureKeyVaultRootKey

__all__ = ["AzureKeyVaultRootKey"]
