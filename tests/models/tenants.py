"""Models whose values lie under a key of their tenant."""

from django.db import models

from envelope_fields.fields import EncryptedJSONField, EncryptedQuerySet, EncryptedTextField


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


class LabNote(models.Model):
    """Under a key that is named by its alias."""

    text = EncryptedTextField(key="lab")
