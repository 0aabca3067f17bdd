"""`manage.py enable_master_key KEY`."""

from envelope_fields.lifecycle import Operation
from envelope_fields.management import OperationCommand


class Command(OperationCommand):
    operation = Operation.ENABLE
