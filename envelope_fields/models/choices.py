"""The words that columns of ours may hold: states, usages, kinds and phases of this version."""

from django.db import models
from django.utils.translation import gettext_lazy as _

from envelope_fields.exceptions import MasterKeyUnusable


class UnknownChoice(MasterKeyUnusable, ValueError):
    """A row, or a caller, has a state, usage, kind or phase that there is not."""


class StoredChoices(models.TextChoices):
    """What the column of a row of ours may hold."""

    @classmethod
    def _missing_(cls, value: object) -> None:
        raise UnknownChoice(
            f"{value!r} is not a {cls.__name__} that this version of the package knows: "
            f"{', '.join(cls.values)}. If a row has it, a later version wrote it, or it was "
            "changed in the database: deploy that version, or restore the row."
        )


class KeyState(StoredChoices):
    """The states of a master key and of each of its versions, as KMS names them."""

    ENABLED = "enabled", _("enabled")
    DISABLED = "disabled", _("disabled")
    PENDING_DELETION = "pending_deletion", _("pending deletion")
    DESTROYED = "destroyed", _("destroyed")


class KeyUsage(StoredChoices):
    """What the material of a master key is for; it is bound into the wrapping (KMS KeyUsage)."""

    ENCRYPT_DECRYPT = "encrypt_decrypt", _("encrypt and decrypt")
    GENERATE_VERIFY_MAC = "generate_verify_mac", _("generate and verify MACs")


class KeyManager(StoredChoices):
    """Whose a master key is (KMS: KeyManager).

    One that the application manages serves all who have access to the application, as an
    AWS-managed key serves its service. One of a customer serves the grantees of its grants.
    """

    APPLICATION = "application", _("the application")
    CUSTOMER = "customer", _("a customer")
