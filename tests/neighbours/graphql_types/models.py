from django.db import models

from envelope_fields.fields import EncryptedDateField
from tests.fields.family import FAMILY, encrypted, plain

# graphene has no type for bytes.
NAMES = {name.lower(): name for name in FAMILY if name != "Binary"}


class Everything(models.Model):
    """An encrypted field of each type, and one that may be NULL and masks."""

    locals().update({column: encrypted(name) for column, name in NAMES.items()})
    maybe = EncryptedDateField("day of birth", null=True, key="lab", on_denied="mask")


class Plain(models.Model):
    """The fields of Django, in the same order."""

    locals().update({column: plain(name) for column, name in NAMES.items()})
    maybe = models.DateField("day of birth", null=True)
