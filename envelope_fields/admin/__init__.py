"""The keys in Django's admin, for officers who never open a shell.

Rooms: `keys` is the list and a key's page, `acts` ask before they do anything, `grants` hand out
rights, `rotations` move stored values, `events` is the audit trail; `counts` knows what is stored
under keys, `chart` draws it, `due` knows when keys are rotated, `rights` says what somebody may
see, and `answering` what they hear when something was refused.
"""

from django.contrib import admin

from envelope_fields.admin.events import AuditEventAdmin
from envelope_fields.admin.keys import MasterKeyAdmin
from envelope_fields.admin.rotations.runs import RotationRunAdmin
from envelope_fields.models import AuditEvent, MasterKey, RotationRun

admin.site.register(MasterKey, MasterKeyAdmin)
admin.site.register(AuditEvent, AuditEventAdmin)
admin.site.register(RotationRun, RotationRunAdmin)
