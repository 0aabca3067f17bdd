"""Commands that do one act on one key, by its alias or id."""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from uuid import UUID

from django.core.management import BaseCommand, CommandError, CommandParser

from envelope_fields.conf import configuration
from envelope_fields.exceptions import MasterKeyNotFound
from envelope_fields.lifecycle import find_master_key
from envelope_fields.management.commands._errors import reported
from envelope_fields.management.commands._key_json import as_json, key_content
from envelope_fields.models import MasterKey, MasterKeyVersion


class KeyCommand(BaseCommand):
    """Does `act` on the key that its argument names, and says what became of it."""

    # An error elsewhere in the project must not keep anybody from their keys.
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("key", metavar="KEY", help="the master key's alias, or its id")
        parser.add_argument("--json", action="store_true", help="print the key as JSON")

    def handle(self, *, key: str, json: bool = False, **options: Any) -> None:
        with reported():
            found = named_key(key)
            said = self.act(self.target(found, **options), **options)
            after = named_key(str(found.pk))
            self.stdout.write(as_json(key_content(after)) if json else said)

    def target(self, key: MasterKey, **options: Any) -> Any:
        """Return what the act is on."""
        return key

    def act(self, target: Any, **options: Any) -> str:
        """Do it, and return what to tell about it."""
        raise NotImplementedError(f"{type(self).__module__} does no act")


class KeyOrVersionCommand(KeyCommand):
    """Does `act` on a key, or on one version of it that is not current."""

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--key-version", type=int, metavar="N", help="only this version, which is not current"
        )

    def target(self, key: MasterKey, *, key_version: int | None = None, **options: Any) -> Any:
        return key if key_version is None else numbered_version(key, key_version)


def named_key(text: str) -> MasterKey:
    """Return the master key whose id the text is, or that has it for its alias.

    Raises:
        MasterKeyNotFound: there is none.
    """
    with suppress(ValueError, MasterKeyNotFound):  # an alias may look like an id
        return find_master_key(UUID(text))
    return find_master_key(text)


def numbered_version(key: MasterKey, number: int) -> MasterKeyVersion:
    """Return a version of a key by its number."""
    versions = key.versions.using(configuration().database).select_related("master_key")
    version = versions.filter(number=number).first()
    if version is None:
        raise CommandError(f"The master key {key} has no version {number}.")
    return version


def capitalized(target: MasterKey | MasterKeyVersion) -> str:
    """Name a key or version at the beginning of a sentence."""
    if isinstance(target, MasterKeyVersion):
        return f"Version {target.number} of the master key {target.master_key}"
    return f"The master key {target}"
