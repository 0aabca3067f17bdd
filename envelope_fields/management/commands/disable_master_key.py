"""`manage.py disable_master_key KEY`."""

from __future__ import annotations

from typing import Any

from envelope_fields.lifecycle import disable, seconds_until_known
from envelope_fields.management.commands._key_command import KeyOrVersionCommand, capitalized


class Command(KeyOrVersionCommand):
    help = (
        "Make a master key, or a version that is not current, unusable: nothing is encrypted or "
        "decrypted under it until it is enabled."
    )

    def act(self, target: Any, **options: Any) -> str:
        disable(target)
        seconds = seconds_until_known()
        return f"{capitalized(target)} is disabled; running processes know it within {seconds:g} s."
