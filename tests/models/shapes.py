"""Models of every shape that Django allows."""

import json
import uuid
from datetime import date

from django.core.validators import MinLengthValidator
from django.db import models

from envelope_fields.fields import EncryptedJSONField, EncryptedTextField


class Dated(models.Model):
    """An abstract base: each child owns its column."""

    text = EncryptedTextField(blank=True)

    class Meta:
        abstract = True


class FirstDated(Dated):
    pass


class SecondDated(Dated):
    pass


class Place(models.Model):
    secret = EncryptedTextField(blank=True)


class Restaurant(Place):
    menu = EncryptedJSONField(default=list)


class PlaceProxy(Place):
    class Meta:
        proxy = True


class OddNames(models.Model):
    text = EncryptedTextField(db_column="Odd Column Name")
    data = EncryptedJSONField(db_column="Größe", null=True)

    class Meta:
        db_table = "Odd Table Name"


class UuidKeyed(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    text = EncryptedTextField()


class CompositeKeyed(models.Model):
    pk = models.CompositePrimaryKey("ward", "bed")
    ward = models.IntegerField()
    bed = models.IntegerField()
    text = EncryptedTextField()


class Keyword(models.Model):
    """Has a unique plain column, for upserts."""

    word = models.CharField(max_length=50, unique=True)
    text = EncryptedTextField(default="none")
    data = EncryptedJSONField(default=dict)


class DateEncoder(json.JSONEncoder):
    def default(self, value):
        return {"date": value.isoformat()} if isinstance(value, date) else super().default(value)


class DateDecoder(json.JSONDecoder):
    def __init__(self, **kwargs):
        super().__init__(object_hook=self.hook, **kwargs)

    @staticmethod
    def hook(value):
        return date.fromisoformat(value["date"]) if "date" in value else value


class Declared(models.Model):
    """Every declaration that a TextField or a JSONField takes."""

    short = EncryptedTextField(max_length=5, blank=True, validators=[MinLengthValidator(2)])
    choice = EncryptedTextField(choices=[("a", "Alpha"), ("b", "Beta")], default="a")
    nullable = EncryptedTextField(null=True, blank=True, verbose_name="may be null")
    dates = EncryptedJSONField(encoder=DateEncoder, decoder=DateDecoder, null=True, blank=True)


class Child(models.Model):
    note = models.ForeignKey("tests.Note", on_delete=models.CASCADE, related_name="children")
    text = EncryptedTextField(blank=True)


class Renamed(models.Model):
    """Was called something else before."""

    text = EncryptedTextField(
        context="tests.former.text", previous_contexts=["tests.older.text", "tests.oldest.text"]
    )
