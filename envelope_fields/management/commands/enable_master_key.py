"""`manage.py enable_master_key KEY`."""

from __future__ import annotations

from typing import Any

from envelope_fields.lifecycle import enable
from envelope_fields.management.commands._key_command import KeyOrVersionCommand, capitalized


class Command(KeyOrVersionCommand):
    help = "Make a disabled master key, or a disabled version of one, usable again."

    def act(self, target: Any, **options: Any) -> str:
        enable(target)
        return f"{capitalized(target)} is enabled."
