"""The keys in Django's admin, for officers who never open a shell.

`keys`, `grants`, `events`, `rotations`, `indexes` and `conversions` are the resources, and
`key_pages` is what a key's page has beside its form. `confirmation` is the page that asks before
anything is done: `operations` (on keys), `starts` (of runs), `rotations`, `index_steps`,
`conversions` and `grants` say what. `counts` knows how many values are stored, and writes numbers;
`runs` says how far a run is. `requests` decides what a user sees, and whether their page is stale.
"""

from django.contrib import admin

from envelope_fields.admin.conversions import ColumnConversionAdmin
from envelope_fields.admin.events import AuditEventAdmin
from envelope_fields.admin.indexes import BlindIndexAdmin
from envelope_fields.admin.keys import MasterKeyAdmin
from envelope_fields.admin.rotations import RotationRunAdmin
from envelope_fields.models import AuditEvent, BlindIndex, ColumnConversion, MasterKey, RotationRun

admin.site.register(MasterKey, MasterKeyAdmin)
admin.site.register(AuditEvent, AuditEventAdmin)
admin.site.register(RotationRun, RotationRunAdmin)
admin.site.register(BlindIndex, BlindIndexAdmin)
admin.site.register(ColumnConversion, ColumnConversionAdmin)
