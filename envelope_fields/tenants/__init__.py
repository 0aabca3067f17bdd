"""A master key for each tenant, made when the first value of theirs is written.

class Document(models.Model):
    clinic = models.ForeignKey(Clinic, models.PROTECT)
    body = EncryptedTextField(key=TenantKey("clinic/{clinic_id}"))
"""

from envelope_fields.tenants.keys import TenantKey

__all__ = ["TenantKey"]
