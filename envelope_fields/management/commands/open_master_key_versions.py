"""`manage.py open_master_key_versions`, where the root key may decrypt."""

from typing import Any

from envelope_fields.lifecycle import open_master_key_versions
from envelope_fields.lifecycle.representation import capitalized, row_content
from envelope_fields.management import ManyKeysCommand


class Command(ManyKeysCommand):
    help = (
        "Open the master key versions that no process has opened yet, so that the newest of each "
        "key becomes current. One that cannot be opened here is reported with exit code 1."
    )

    def perform(self, *, json: bool = False, **options: Any) -> None:
        done = open_master_key_versions()
        opened = [row_content(version) for version in done.opened]
        lines = [f"{capitalized(version)} is opened." for version in done.opened]
        text = "\n".join(lines) or "Nothing was opened."
        self.report({"opened": opened}, text, done.refused, json=json)
