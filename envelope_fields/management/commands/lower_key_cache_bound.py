"""`manage.py lower_key_cache_bound SECONDS`."""

from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser

from envelope_fields.lifecycle import key_cache_bound, lower_key_cache_bound
from envelope_fields.management import reported


class Command(BaseCommand):
    help = (
        "Lower the longest time that any process may go by what it knew of a key, for which "
        "shredding waits. Processes that start with a larger KEY_CACHE_SECONDS raise it again."
    )
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("seconds", metavar="SECONDS", type=float, help="from 0 on")

    def handle(self, *, seconds: float, **options: Any) -> None:
        with reported():
            before = key_cache_bound()
            try:
                now = lower_key_cache_bound(seconds)
            except ValueError as error:
                raise CommandError(str(error)) from error
        if now == before:
            self.stdout.write(f"The bound of key caches is {now:g} s, as before.")
        else:
            self.stdout.write(
                f"The bound of key caches is {now:g} s. Processes that run follow within "
                f"{before:g} s."
            )
