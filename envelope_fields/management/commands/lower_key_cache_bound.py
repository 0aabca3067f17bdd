"""`manage.py lower_key_cache_bound SECONDS`."""

from typing import Any

from django.core.management import CommandError, CommandParser

from envelope_fields.lifecycle import key_cache_bound, lower_key_cache_bound
from envelope_fields.management import EnvelopeCommand


class Command(EnvelopeCommand):
    help = (
        "Lower the longest time that any process may go by what it knew of a key, for which "
        "shredding waits. Processes that start with a larger KEY_CACHE_SECONDS raise it again."
    )
    prints = "the bound before and now, in seconds, as JSON"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("seconds", metavar="SECONDS", type=float, help="from 0 on")
        super().add_arguments(parser)

    def perform(self, *, seconds: float, **options: Any) -> None:
        before = key_cache_bound()
        try:
            now = lower_key_cache_bound(seconds)
        except ValueError as error:
            raise CommandError(str(error)) from error
        text = f"The bound of key caches is {now:g} s, as before."
        if now != before:
            text = (
                f"The bound of key caches is {now:g} s. Processes that run follow within "
                f"{before:g} s."
            )
        self.say(lambda: {"before": before, "now": now}, text)
