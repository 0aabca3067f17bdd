"""What the story with a KMS happens in: a directory, and OpenBao."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Self

from demo_project.processes import command
from tests.root_keys.vault.service import VaultService


class Scene:
    """A directory with the clinic's database and root key, and a KMS, as long as the story lasts.

    Attributes:
        kms: the server, and an administrator of it.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.root_key_file = directory / "root.key"
        self.environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "demo_project.kms_settings",
            "CLINIC_KMS_DIRECTORY": str(directory),
        }
        self.name_root_keys(default=self.local)

    def __enter__(self) -> Self:
        self.kms = VaultService(self._directory)
        return self

    def __exit__(self, *_: object) -> None:
        self.kms.close()

    @property
    def local(self) -> dict[str, Any]:
        backend = "envelope_fields.root_keys.local.LocalRootKey"
        return {"BACKEND": backend, "OPTIONS": {"file": str(self.root_key_file)}}

    @property
    def vault(self) -> dict[str, Any]:
        entry = self.kms.entry()
        entry["OPTIONS"].update(url=self.kms.client.url, timeout=3)
        return entry

    def name_root_keys(self, **entries: dict[str, Any]) -> None:
        """Have these in the settings of processes that begin from now on; the first one wraps."""
        (self._directory / "root-keys.json").write_text(json.dumps(entries))

    def command(self, *arguments: str, fails: bool = False) -> str:
        """Run a management command in a process of its own, and return what it printed.

        Raises:
            StoryStops: it failed, or did not where it should.
        """
        return command(self.environment, *arguments, fails=fails)

    def asked(self) -> int:
        """Return how often the KMS was asked to open something, by its own log."""
        return len(self.kms.requests("transit/decrypt/clinic"))
