"""Models with values that are bound to columns of their rows, in a registry of their own."""

import uuid

from django.contrib.contenttypes.fields import GenericForeignKey
from django.contrib.contenttypes.models import ContentType
from django.db import models

from envelope_fields.fields import (
    EncryptedJSONField,
    EncryptedQuerySet,
    EncryptedTextField,
    encrypted,
)
from tests.models.tables import Registry

apps = Registry("bound")


class Clinic(models.Model):
    name = models.CharField(max_length=30, unique=True)

    def natural_key(self):
        return (self.name,)

    class Meta:
        apps = apps
        app_label = "bound"


class Record(models.Model):
    """Bound to a key that Python makes, and to a foreign key; one of the values comes before."""

    early = EncryptedTextField(blank=True, bind_to=("clinic_id",))
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    clinic = models.ForeignKey(Clinic, models.SET_NULL, null=True, related_name="records")
    name = models.CharField(max_length=30, blank=True)
    secret = EncryptedTextField(bind_to=("id", "clinic"))
    maybe = EncryptedJSONField(null=True, bind_to=["id"])

    objects = EncryptedQuerySet.as_manager()
    plain_objects = models.Manager()

    class Meta:
        apps = apps
        app_label = "bound"


class RecordProxy(Record):
    class Meta:
        apps = apps
        app_label = "bound"
        proxy = True


class Admission(Record):
    """Of a table that has a link to its parent's."""

    ward = models.SlugField()
    reason = encrypted(models.CharField(max_length=30), bind_to=("record_ptr", "ward"))

    class Meta:
        apps = apps
        app_label = "bound"


class Cabinet(models.Model):
    cabinet_id = models.AutoField(primary_key=True)

    class Meta:
        apps = apps
        app_label = "bound"


class Folder(models.Model):
    folder_id = models.AutoField(primary_key=True)
    shelf = models.CharField(max_length=8)
    title = EncryptedTextField()
    label = EncryptedTextField(bind_to=("shelf",))

    class Meta:
        apps = apps
        app_label = "bound"


class Chart(Cabinet, Folder):
    """Of two parents, where its own key is that of the first."""

    class Meta:
        apps = apps
        app_label = "bound"


class Colour(models.TextChoices):
    RED = "red"
    BLUE = "blue"


class Sample(models.Model):
    """Bound to columns of each type that may be."""

    code = models.CharField(max_length=20, unique=True)
    number = models.SmallIntegerField(choices=[(1, "one"), (2, "two")])
    day = models.DateField(null=True)
    colour = models.CharField(max_length=8, choices=Colour)
    by = models.ForeignKey("self", models.CASCADE, to_field="code", null=True)
    text = EncryptedTextField(bind_to=("code", "number", "day", "colour", "by"))

    class Meta:
        apps = apps
        app_label = "bound"


class Placed(models.Model):
    """Of a composite primary key."""

    pk = models.CompositePrimaryKey("clinic", "number")
    clinic = models.ForeignKey(Clinic, models.CASCADE)
    number = models.IntegerField(db_column="nr")
    text = EncryptedTextField(bind_to=("clinic_id", "number"))

    class Meta:
        apps = apps
        app_label = "bound"


class Tagged(models.Model):
    """Bound to what a generic relation writes."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    content_type = models.ForeignKey(ContentType, models.CASCADE, null=True)
    object_id = models.IntegerField(null=True)
    of = GenericForeignKey()
    text = EncryptedTextField(bind_to=("content_type", "object_id"))

    class Meta:
        apps = apps
        app_label = "bound"


def tenant_of(row):
    return row.tenant


class Owned(models.Model):
    """Under its tenant's key, and bound to the tenant; masked for those who may not read it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    tenant = models.CharField(max_length=30)
    name = models.CharField(max_length=30, blank=True)
    text = EncryptedTextField(key=tenant_of, bind_to=("tenant", "id"), on_denied="mask")

    objects = EncryptedQuerySet.as_manager()

    class Meta:
        apps = apps
        app_label = "bound"


class Event(models.Model):
    """A copy of a record, as triggers and packages make them."""

    record_id = models.UUIDField()
    clinic = models.ForeignKey(Clinic, models.CASCADE, null=True)
    name = models.CharField(max_length=30, unique=True, null=True)
    early = EncryptedTextField(copy_of="bound.Record.early", bind_to=("clinic",))

    class Meta:
        apps = apps
        app_label = "bound"

    def natural_key(self):
        return (self.name,)


class OwnedByNumber(models.Model):
    owner = models.IntegerField()
    text = EncryptedTextField(bind_to=("owner",))

    class Meta:
        abstract = True
        apps = apps
        app_label = "bound"


class First(OwnedByNumber):
    class Meta(OwnedByNumber.Meta):
        pass


class Second(OwnedByNumber):
    class Meta(OwnedByNumber.Meta):
        pass
