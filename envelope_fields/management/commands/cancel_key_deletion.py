"""`manage.py cancel_key_deletion KEY`."""

from envelope_fields.lifecycle import Operation
from envelope_fields.management import OperationCommand


class Command(OperationCommand):
    operation = Operation.CANCEL_DELETION
    outcome = (
        "{name} is not going to be deleted. It is {past}: `python manage.py enable_master_key` "
        "makes it usable again."
    )
