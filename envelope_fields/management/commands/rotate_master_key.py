"""`manage.py rotate_master_key KEY`."""

from __future__ import annotations

from typing import Any

from envelope_fields.lifecycle import rotate_master_key
from envelope_fields.management.commands._key_command import KeyCommand
from envelope_fields.management.commands._words import is_current


class Command(KeyCommand):
    help = (
        "Make a new version of a master key. What is written from now on is written under it; "
        "stored values stay under their versions and can be read as before."
    )

    def act(self, target: Any, **options: Any) -> str:
        return f"Rotated the master key {str(target)!r}. {is_current(rotate_master_key(target))}"
