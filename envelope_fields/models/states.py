"""The states of keys, and what their material is for."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class KeyState(models.TextChoices):
    """The states of a master key and of each of its versions, as KMS names them."""

    ENABLED = "enabled", _("enabled")
    DISABLED = "disabled", _("disabled")
    PENDING_DELETION = "pending_deletion", _("pending deletion")
    DESTROYED = "destroyed", _("destroyed")


class KeyUsage(models.TextChoices):
    """What the material of a master key is for; it is bound into the wrapping (KMS KeyUsage)."""

    ENCRYPT_DECRYPT = "encrypt_decrypt", _("encrypt and decrypt")
    GENERATE_VERIFY_MAC = "generate_verify_mac", _("generate and verify MACs")


class KeyManager(models.TextChoices):
    """Whose a master key is (KMS: KeyManager).

    One that the application manages serves everybody who has access to the application, as an
    AWS-managed key serves its service. One of a customer serves whom its grants name.
    """

    APPLICATION = "application", _("the application")
    CUSTOMER = "customer", _("a customer")
