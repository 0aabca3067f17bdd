"""`manage.py cancel_key_deletion KEY`."""

from __future__ import annotations

from typing import Any

from envelope_fields.lifecycle import cancel_deletion
from envelope_fields.management.commands._key_command import KeyOrVersionCommand, capitalized


class Command(KeyOrVersionCommand):
    help = "Take the deletion of a master key or version back, which leaves it disabled."

    def act(self, target: Any, **options: Any) -> str:
        cancel_deletion(target)
        return (
            f"{capitalized(target)} is not going to be deleted. It is disabled: "
            "`python manage.py enable_master_key` makes it usable again."
        )
