from django.db import models

from tests.fields.family import FAMILY, encrypted, plain

# model_bakery has no value for a field of files.
NAMES = {name.lower(): name for name in FAMILY if name != "FilePath"}


class Everything(models.Model):
    """An encrypted field of each type."""

    locals().update({column: encrypted(name) for column, name in NAMES.items()})


class Plain(models.Model):
    """The fields of Django, in the same order."""

    locals().update({column: plain(name) for column, name in NAMES.items()})
