"""`manage.py shred_master_key KEY`."""

from typing import Any

from django.core.management import CommandError, CommandParser

from envelope_fields import lifecycle
from envelope_fields.lifecycle.certificates import ShredConfirmation, lookups_text, shred_content
from envelope_fields.lifecycle.representation import Row, as_utc, capitalized
from envelope_fields.management import OperationCommand, named_row


class Command(OperationCommand):
    operation = lifecycle.Operation.SHRED
    prints = "the certificate as JSON"

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--confirm", metavar="NAME", help="the key's name, instead of being asked for it"
        )

    def perform(self, *, key: str, confirm: str | None = None, **options: Any) -> None:
        row = named_row(key, options.get("key_version"))
        agreed = lifecycle.shred_confirmation(row)
        self.stderr.write(_consequence(row, agreed))
        name = _typed(agreed.name) if confirm is None else confirm
        if name != agreed.name:
            raise CommandError("Nothing was destroyed: that is not the name of the key.")
        certificate = self.operation.perform(key=row, confirm=agreed)
        self.say(lambda: shred_content(certificate), str(certificate))


def _consequence(row: Row, agreed: ShredConfirmation) -> str:
    fields = "".join(f"\n  {each}" for each in agreed.fields)
    last = agreed.last_use_by_kms
    kms = f"\nkms gave out data under it, last on {as_utc(last)}: lost too." if last else ""
    seconds = lifecycle.seconds_until_known()
    return (
        f"{capitalized(row)} is destroyed with all values that are under it now "
        f"({agreed.total:,}).{fields}{kms}\n{lookups_text(agreed.lookups)}It is disabled first, "
        f"and {seconds:g} s later the values are counted again."
    )


def _typed(name: str) -> str:
    try:
        return input(f"Type {name} to destroy them: ")
    except (EOFError, KeyboardInterrupt):
        return ""
