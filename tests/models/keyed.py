"""Models with primary keys of every kind.

They are in a registry of their own, and their tables are made by the tests that need them: each
column is counted whenever something is counted.
"""

import uuid
from types import SimpleNamespace

from django.apps.registry import Apps
from django.db import models

from envelope_fields.fields import EncryptedTextField
from tests.models.hidden import Nothing

apps = Apps()


def only(*models):
    """Stand in for the registry of installed apps, with these models alone."""
    return SimpleNamespace(get_models=lambda **_: list(models))


class Code:
    """A value that is not what the database holds."""

    def __init__(self, text):
        self.text = text

    def __eq__(self, other):
        return isinstance(other, Code) and other.text == self.text

    def __hash__(self):
        return hash(self.text)

    def __str__(self):
        return self.text


class CodeField(models.CharField):
    """Stores a `Code` backwards."""

    def from_db_value(self, value, expression, connection):
        return None if value is None else Code(value[::-1])

    def to_python(self, value):
        return value if isinstance(value, Code) else Code(str(value))

    def get_prep_value(self, value):
        return value.text[::-1] if isinstance(value, Code) else value


class BytesField(models.BinaryField):
    """Bytes that every database can index."""

    def db_type(self, connection):
        return "varbinary(40)" if connection.vendor == "mysql" else super().db_type(connection)


class Keyed(models.Model):
    text = EncryptedTextField()

    class Meta:
        abstract = True
        apps = apps
        app_label = "keyed"


class TextKeyed(Keyed):
    key = models.CharField(max_length=60, primary_key=True)


class BytesKeyed(Keyed):
    key = BytesField(primary_key=True)


class IntegerKeyed(Keyed):
    key = models.BigIntegerField(primary_key=True)


class NamedAsInStatements(Keyed):
    """Table and columns have names that statements give to what they are made of."""

    key = models.BigIntegerField(primary_key=True, db_column="nth")
    text = EncryptedTextField(db_column="head")

    class Meta(Keyed.Meta):
        db_table = "batch"


class DecimalKeyed(Keyed):
    key = models.DecimalField(primary_key=True, max_digits=12, decimal_places=3)


class FloatKeyed(Keyed):
    key = models.FloatField(primary_key=True)


class DateTimeKeyed(Keyed):
    key = models.DateTimeField(primary_key=True)


class DateKeyed(Keyed):
    key = models.DateField(primary_key=True)


class TimeKeyed(Keyed):
    key = models.TimeField(primary_key=True)


class DurationKeyed(Keyed):
    key = models.DurationField(primary_key=True)


class AddressKeyed(Keyed):
    key = models.GenericIPAddressField(primary_key=True)


class CodeKeyed(Keyed):
    key = CodeField(max_length=60, primary_key=True)


class UuidParent(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)

    class Meta:
        apps = apps
        app_label = "keyed"


class RelationKeyed(Keyed):
    key = models.OneToOneField(UuidParent, models.CASCADE, primary_key=True)


class MixedKeyed(Keyed):
    """A key of several columns of several types, one of which is a relation."""

    pk = models.CompositePrimaryKey("parent", "name", "at")
    parent = models.ForeignKey(UuidParent, models.CASCADE)
    name = models.CharField(max_length=30)
    at = models.DateTimeField()


def key_of_row(row):
    return None if row is None else row.alias


class Chosen(models.Model):
    """What a callable key needs."""

    alias = models.CharField(max_length=30, default="default")
    text = EncryptedTextField(key=key_of_row)

    class Meta:
        abstract = True
        apps = apps
        app_label = "keyed"


class CodeChosen(Chosen):
    key = CodeField(max_length=60, primary_key=True)


class DecimalChosen(Chosen):
    key = models.DecimalField(primary_key=True, max_digits=12, decimal_places=3)


class DateTimeChosen(Chosen):
    key = models.DateTimeField(primary_key=True)


class RelationChosen(Chosen):
    key = models.OneToOneField(UuidParent, models.CASCADE, primary_key=True)


class HiddenChosen(Chosen):
    """Its managers hide every row."""

    key = models.CharField(max_length=60, primary_key=True)

    objects = Nothing()

    class Meta(Chosen.Meta):
        base_manager_name = "objects"
        default_manager_name = "objects"


class Foreign(Keyed):
    """The table of another program, which tests make with a key column of any type."""

    key = models.CharField(max_length=60, primary_key=True)

    class Meta(Keyed.Meta):
        managed = False
        db_table = "Foreign %s table"
