"""`manage.py shred_master_key KEY`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from django.core.management import CommandError, CommandParser

from envelope_fields.lifecycle import (
    ShredCertificate,
    ShredConfirmation,
    seconds_until_known,
    shred,
    shred_confirmation,
)
from envelope_fields.lifecycle.confirmation import as_utc
from envelope_fields.management.commands._errors import reported
from envelope_fields.management.commands._key_command import (
    KeyOrVersionCommand,
    capitalized,
    named_key,
)
from envelope_fields.management.commands._key_json import as_json


class Command(KeyOrVersionCommand):
    help = (
        "Destroy a master key, or a version that is not current, TOGETHER WITH ALL VALUES under "
        "it (crypto-shredding). Nothing brings them back."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--confirm", metavar="NAME", help="the key's name, instead of being asked for it"
        )

    def handle(
        self, *, key: str, json: bool = False, confirm: str | None = None, **options: Any
    ) -> None:
        with reported():
            target = self.target(named_key(key), **options)
            agreed = shred_confirmation(target)
            self.stderr.write(_consequence(target, agreed))
            name = _asked(agreed.name) if confirm is None else confirm
            if name != agreed.name:
                raise CommandError("Nothing was destroyed: that is not the name of the key.")
            certificate = shred(target, confirm=agreed)
        self.stdout.write(as_json(_content(certificate)) if json else str(certificate))


def _consequence(target: Any, agreed: ShredConfirmation) -> str:
    places = "".join(f"\n  {place}" for place in agreed.places)
    last = agreed.last_use_by_kms
    kms = f"\nkms gave out data under it, last on {as_utc(last)}: lost too." if last else ""
    seconds = seconds_until_known()
    return (
        f"{capitalized(target)} is destroyed with the {agreed.total:,} values that are under it "
        f"now.{places}{kms}\nIt is disabled first, and {seconds:g} s later the values are counted "
        "again."
    )


def _asked(name: str) -> str:
    try:
        return input(f"Type {name} to destroy them: ")
    except (EOFError, KeyboardInterrupt):
        return ""


def _content(certificate: ShredCertificate) -> dict[str, Any]:
    content = asdict(certificate)
    content["places"] = [place._asdict() for place in certificate.places]
    return {**content, "total": certificate.total}
