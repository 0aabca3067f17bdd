"""What a principal may ask of a key, in KMS's terms."""

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _


class Action(TextChoices):
    """The actions that a grant names; each is an operation of the AWS KMS API, in snake case."""

    ENCRYPT = "encrypt", _("encrypt")
    DECRYPT = "decrypt", _("decrypt")
    GENERATE_DATA_KEY = "generate_data_key", _("generate data keys")
    RE_ENCRYPT = "re_encrypt", _("re-encrypt")
    DESCRIBE = "describe", _("describe")
    ROTATE = "rotate", _("rotate")
    ENABLE = "enable", _("enable")
    DISABLE = "disable", _("disable")
    SCHEDULE_DELETION = "schedule_deletion", _("schedule deletion")
    CANCEL_DELETION = "cancel_deletion", _("cancel deletion")
    MANAGE_GRANTS = "manage_grants", _("manage grants")
    VIEW_AUDIT = "view_audit", _("view the audit trail")


# What is done with data under a key, as opposed to what is done with the key.
DATA_ACTIONS = frozenset(
    {Action.ENCRYPT, Action.DECRYPT, Action.GENERATE_DATA_KEY, Action.RE_ENCRYPT}
)

# What users may do without a grant where a key is managed by the application: in AWS, too, users
# with access to an account may use and see the keys that AWS manages in it.
OPEN_ACTIONS = DATA_ACTIONS | {Action.DESCRIBE}
