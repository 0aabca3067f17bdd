"""`manage.py schedule_key_deletion KEY`."""

from envelope_fields.lifecycle import Operation
from envelope_fields.management import OperationCommand


class Command(OperationCommand):
    operation = Operation.SCHEDULE_DELETION
    outcome = (
        "{name} is unusable and will be destroyed by the first run of "
        "`python manage.py destroy_due_keys` after {result:%Y-%m-%d %H:%M %Z}."
    )
