"""Models whose values lie under a key of their tenant."""

from django.db import models

from envelope_fields.fields import EncryptedJSONField, EncryptedQuerySet, EncryptedTextField
from envelope_fields.tenants import TenantKey


def tenant_alias(note):
    """Fails without an instance, as most such callables do."""
    return note.tenant


def tenant_alias_or_default(note):
    return "default" if note is None else note.tenant


class TenantNote(models.Model):
    tenant = models.CharField(max_length=50)
    text = EncryptedTextField(blank=True, key=tenant_alias)
    data = EncryptedJSONField(null=True, key=tenant_alias)

    objects = EncryptedQuerySet.as_manager()
    plain_objects = models.Manager()


class LenientTenantNote(models.Model):
    tenant = models.CharField(max_length=50)
    text = EncryptedTextField(blank=True, key=tenant_alias_or_default)


class TenantWord(models.Model):
    """Has unique plain columns, for upserts."""

    tenant = models.CharField(max_length=50)
    word = models.CharField(max_length=50, unique=True)
    number = models.IntegerField()
    text = EncryptedTextField(key=tenant_alias)

    class Meta:
        unique_together = [("tenant", "number")]


class LabNote(models.Model):
    """Under a key that is named by its alias."""

    text = EncryptedTextField(key="lab")


class Clinic(models.Model):
    name = models.CharField(max_length=50)


class Document(models.Model):
    """Under a key of its clinic, which is made with the first document."""

    clinic = models.ForeignKey(Clinic, models.CASCADE)
    number = models.IntegerField(unique=True, null=True)
    body = EncryptedTextField(key=TenantKey("clinic/{clinic_id}"))

    objects = EncryptedQuerySet.as_manager()


class MaskedNote(models.Model):
    """Under the key of the laboratory; whoever may not read it sees dots."""

    title = models.CharField(max_length=50, blank=True)
    text = EncryptedTextField(blank=True, max_length=5, key="lab", on_denied="mask")
    data = EncryptedJSONField(null=True, blank=True, key="lab", on_denied="mask")
    open = EncryptedTextField(blank=True)

    objects = EncryptedQuerySet.as_manager()
    plain_objects = models.Manager()
