"""`manage.py grant_key KEY --user USERNAME --action decrypt`."""

from datetime import datetime
from typing import Any

from django.core.management import CommandError, CommandParser
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from envelope_fields.grants import ListedGrant, grant
from envelope_fields.grants.grantees import described, grant_content
from envelope_fields.lifecycle.keys import named_key
from envelope_fields.management.commands._command import GrantCommand
from envelope_fields.policy import Action


class Command(GrantCommand):
    help = "Let a user, or the users of a group, do something with a master key."
    prints = "the grant as JSON"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("key", metavar="KEY", help="the master key's alias, or its id")
        self.add_grantee(parser, required=True)
        parser.add_argument(
            "--action",
            dest="actions",
            action="append",
            required=True,
            choices=[str(action) for action in Action],
            help="what they may do; may be given several times",
        )
        parser.add_argument(
            "--context", default="", help="only for values of this app.model or app.model.field"
        )
        parser.add_argument(
            "--expires", metavar="TIME", help="when it ends, such as 2030-12-31T18:00"
        )
        super().add_arguments(parser)

    def perform(
        self,
        *,
        key: str,
        actions: list[str],
        user: str | None = None,
        group: str | None = None,
        context: str = "",
        expires: str | None = None,
        json: bool = False,
        **options: Any,
    ) -> None:
        end = expires and _time(expires)
        to = self.grantee(user, group)
        made = grant(named_key(key), to, actions, context=context, expires_at=end or None)
        (listed,) = described([made])
        if json:
            self.write_json(grant_content(listed))
        else:
            self.stdout.write(_text(listed, group))


def _text(listed: ListedGrant, group: str | None) -> str:
    made = listed.grant
    who = f"The {'user' if group is None else 'group'} {listed.name!r}"
    where = f" in the context {made.context}" if made.context else ""
    what = ", ".join(made.actions)
    limits = f"{where}{GrantCommand.until(made.expires_at)}"
    return f"Grant {made.pk}: {who} may {what} with {str(made.master_key)!r}{limits}."


def _time(text: str) -> datetime:
    try:
        moment = parse_datetime(text)
    except ValueError:
        moment = None
    if moment is None:
        raise CommandError(f"{text!r} is not a time. Write it as 2030-12-31T18:00.")
    has_zones = timezone.is_aware(timezone.now())  # USE_TZ
    return timezone.make_aware(moment) if has_zones and timezone.is_naive(moment) else moment
