"""One column in four ways: what is measured is the difference between them."""

from __future__ import annotations

from typing import Any

from django.db import models

from bench import primitives
from envelope_fields.crypto.blind_index import INDEX_BYTES
from envelope_fields.fields import (
    BlindIndexField,
    EncryptedBinaryField,
    EncryptedBooleanField,
    EncryptedDateField,
    EncryptedDateTimeField,
    EncryptedDecimalField,
    EncryptedDurationField,
    EncryptedEmailField,
    EncryptedFloatField,
    EncryptedGenericIPAddressField,
    EncryptedIntegerField,
    EncryptedTextField,
    EncryptedTimeField,
    EncryptedUUIDField,
)


class PrimitivesField(models.BinaryField):
    """The primitives behind the two methods that Django needs, and nothing that a field owes."""

    def get_db_prep_save(self, value: str, connection: Any) -> Any:
        return connection.Database.Binary(primitives.encrypt(value))

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> str:
        return primitives.decrypt(value)


class Text(models.Model):
    value = models.TextField()


class Bytes(models.Model):
    value = models.BinaryField()


class Primitives(models.Model):
    value = PrimitivesField()


class Encrypted(models.Model):
    value = EncryptedTextField()


class Number(models.Model):
    value = EncryptedIntegerField()


class Amount(models.Model):
    value = EncryptedDecimalField(max_digits=12, decimal_places=2)


class Weight(models.Model):
    value = EncryptedFloatField()


class Flag(models.Model):
    value = EncryptedBooleanField()


class Day(models.Model):
    value = EncryptedDateField()


class Moment(models.Model):
    value = EncryptedDateTimeField()


class Clock(models.Model):
    value = EncryptedTimeField()


class Period(models.Model):
    value = EncryptedDurationField()


class Identifier(models.Model):
    value = EncryptedUUIDField()


class Address(models.Model):
    value = EncryptedGenericIPAddressField()


class Address6(models.Model):
    value = EncryptedGenericIPAddressField()


class Email(models.Model):
    value = EncryptedEmailField()


class Blob(models.Model):
    value = EncryptedBinaryField()


def key_of_tenant(row: Any) -> str:
    return "one" if row is None else row.tenant


class OfTenant(models.Model):
    tenant = models.CharField(max_length=100)
    value = EncryptedTextField(key=key_of_tenant)


class Unbound(models.Model):
    tenant = models.IntegerField(default=1)
    value = EncryptedTextField()


class Bound(models.Model):
    tenant = models.IntegerField(default=1)
    value = EncryptedTextField(bind_to=("tenant",))


class BoundLater(models.Model):
    value = EncryptedTextField(bind_to=("tenant",))
    tenant = models.IntegerField(default=1)


class PlainIndexField(models.BinaryField):
    """As wide as a blind index, and indexed on MariaDB, too, where no `BinaryField` is."""

    def db_type(self, connection: Any) -> str | None:
        is_mysql = connection.vendor == "mysql"
        return f"varbinary({INDEX_BYTES})" if is_mysql else super().db_type(connection)


class Searched(models.Model):
    """A column by which rows are found, without encryption."""

    email = models.CharField(max_length=100, db_index=True)


class Beside(models.Model):
    """An encrypted column, and plain bytes in the place of its index."""

    email = EncryptedEmailField()
    email_index = PlainIndexField(null=True, db_index=True)


class Indexed(models.Model):
    """An encrypted column, by which rows are found."""

    email = EncryptedEmailField()
    email_index = BlindIndexField("email", normalizer="email")


class Unique(models.Model):
    email = models.EmailField(unique=True)


class UniqueIndexed(models.Model):
    email = EncryptedEmailField()
    email_index = BlindIndexField("email", normalizer="email", unique=True)
