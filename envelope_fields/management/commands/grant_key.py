"""`manage.py grant_key KEY --user USERNAME --action decrypt`."""

from datetime import datetime
from typing import Any

from django.core.management import CommandError, CommandParser
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from envelope_fields.grants import grant, grantees
from envelope_fields.lifecycle.keys import named_key
from envelope_fields.management import GrantCommand
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
            "--context", help="only for values of this app.model or app.model.field"
        )
        parser.add_argument(
            "--expires", metavar="TIME", help="when it ends, such as 2030-12-31T18:00"
        )
        super().add_arguments(parser)

    def perform(self, **options: Any) -> None:
        end = options["expires"] and _time(options["expires"])
        made = grant(
            named_key(options["key"]),
            self.grantee(**options),
            options["actions"],
            context=options["context"] or "",
            expires_at=end or None,
        )
        (listed,) = grantees.described([made])
        who = f"The {'user' if options['group'] is None else 'group'} {listed.name!r}"
        where = f" in the context {made.context}" if made.context else ""
        what = f"may {', '.join(made.actions)} with {str(made.master_key)!r}{where}"
        text = f"Grant {made.pk}: {who} {what}{self.until(made.expires_at)}."
        self.say(lambda: grantees.grant_content(listed), text)


def _time(text: str) -> datetime:
    try:
        moment = parse_datetime(text)
    except ValueError:
        moment = None
    if moment is None:
        raise CommandError(f"{text!r} is not a time. Write it as 2030-12-31T18:00.")
    has_zones = timezone.is_aware(timezone.now())  # USE_TZ
    return timezone.make_aware(moment) if has_zones and timezone.is_naive(moment) else moment
