"""The keys in Django's admin, for officers who never open a shell.

Rooms: `keys` is the list and a key's page, `acts` ask before they do anything, `grants` hand out
rights, `events` is the audit trail; `counts` knows what is stored under keys, `chart` draws it,
`due` knows when keys are rotated, and `rights` says what somebody may see.
"""

from django.contrib import admin

from envelope_fields.admin.events import AuditEventAdmin
from envelope_fields.admin.keys import MasterKeyAdmin
from envelope_fields.models import AuditEvent, MasterKey

admin.site.register(MasterKey, MasterKeyAdmin)
admin.site.register(AuditEvent, AuditEventAdmin)
