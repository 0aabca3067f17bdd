"""`manage.py open_master_key_versions`, where the root key may decrypt."""

from typing import Any

from envelope_fields.lifecycle import open_master_key_versions
from envelope_fields.management import ManyKeysCommand


class Command(ManyKeysCommand):
    help = (
        "Open the master key versions that no process has opened yet, so that the newest of each "
        "key becomes current. One that cannot be opened here is reported with exit code 1."
    )

    def perform(self, **options: Any) -> None:
        self.report_each(open_master_key_versions(), "opened", "{name} is opened.")
