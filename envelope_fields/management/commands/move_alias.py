"""`manage.py move_alias KEY ALIAS`."""

from envelope_fields.lifecycle import Operation
from envelope_fields.management import OperationCommand


class Command(OperationCommand):
    operation = Operation.MOVE_ALIAS
    outcome = "The master key {row.pk} has the alias {alias!r}."
