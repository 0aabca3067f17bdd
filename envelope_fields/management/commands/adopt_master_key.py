"""`manage.py adopt_master_key ALIAS`."""

from __future__ import annotations

from typing import Any

from envelope_fields.grants import list_grants
from envelope_fields.lifecycle import adopt
from envelope_fields.management.commands._key_command import KeyCommand, capitalized
from envelope_fields.models import MasterKey


class Command(KeyCommand):
    help = (
        "Let fields that name the alias of a master key write under it, though a user made it or "
        "gave it the alias. It says whom grants on the key name: they keep them."
    )

    def act(self, target: MasterKey, **options: Any) -> str:
        adopt(target)
        lines = [f"{capitalized(target)} serves the fields that name it."]
        for listed in list_grants(target):
            grant = listed.grant
            who = f"{grant.principal_type} {listed.name or grant.principal_id}"
            lines.append(f"Granted to {who}: {', '.join(grant.actions)}.")
        return "\n".join(lines)
