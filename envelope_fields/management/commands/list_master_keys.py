"""`manage.py list_master_keys`."""

from typing import Any

from django.core.management import CommandParser
from django.db.models import Count, Max, Prefetch, Q

from envelope_fields.conf import configuration
from envelope_fields.lifecycle.representation import (
    NOT_OPENED,
    further_wraps_of,
    key_content_with_versions,
)
from envelope_fields.management import EnvelopeCommand
from envelope_fields.models import KeyState, MasterKey, MasterKeyVersion

_UNOPENED = Q(versions__opened_at=None) & ~Q(versions__state=KeyState.DESTROYED)


class Command(EnvelopeCommand):
    help = "List the master keys: alias or id, state, versions, and when each was last rotated."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--state", choices=KeyState.values, help="only those in this state")
        super().add_arguments(parser)

    def perform(self, *, state: str | None = None, **options: Any) -> None:
        keys = MasterKey.objects.using(configuration().database).order_by("alias", "pk")
        if state is not None:
            keys = keys.filter(state=state)
        if self.json:
            by_number = MasterKeyVersion.objects.using(keys.db).order_by("number")
            listed: list[Any] = list(
                keys.prefetch_related(Prefetch("versions", by_number, "by_number"))
            )
            further = further_wraps_of(version for key in listed for version in key.by_number)
            self.write_json(
                [key_content_with_versions(key, key.by_number, further) for key in listed]
            )
            return
        for key in keys.annotate(
            count=Count("versions"),
            newest=Max("versions__created_at"),
            unopened=Count("versions", filter=_UNOPENED),
        ).iterator():
            self.stdout.write(_line(key))


def _line(key: Any) -> str:
    versions = "1 version" if key.count == 1 else f"{key.count} versions"
    due = f", deletion {key.deletion_at:%Y-%m-%d}" if key.deletion_at else ""
    serves = "" if key.serves_fields else ", serves no fields"
    unopened = f", {key.unopened} of them {NOT_OPENED}" if key.unopened else ""
    newest = f"newest of {key.newest:%Y-%m-%d}" if key.newest else "whose rows are gone"
    return f"{key}  {key.state}  {versions}, {newest}{unopened}{due}{serves}"
