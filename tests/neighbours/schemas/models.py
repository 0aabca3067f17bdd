from django_tenants.models import DomainMixin, TenantMixin

from envelope_fields.fields import EncryptedTextField


class Tenant(TenantMixin):
    contract = EncryptedTextField(blank=True)  # in the shared schema


class Domain(DomainMixin):
    pass
