"""What the story with a KMS happens in: a directory, OpenBao, and the process of the clinic."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from tests.root_keys.vault.service import VaultService

CHECKOUT = Path(__file__).resolve().parent.parent
WAIT_SECONDS = 30


class StoryStops(Exception):
    """Something did not happen that the story is about."""


class Clinic:
    """The process of the clinic, and what became of its visits.

    Attributes:
        visits: what it printed of each.
    """

    def __init__(self, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "demo_project.kms_clinic"],
            cwd=CHECKOUT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )
        self.visits: list[dict[str, Any]] = []
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        for line in self._process.stdout or ():
            self.visits.append(json.loads(line))

    def errors(self, since: int = 0) -> Counter[str]:
        """Count what visits met, by the class of the error, from a visit on."""
        return Counter(visit["error"] for visit in self.visits[since:] if "error" in visit)

    def wait(self, happened: Callable[[dict[str, Any]], bool]) -> tuple[dict[str, Any], float]:
        """Return the next visit of which something is true, and how many seconds that took.

        Raises:
            StoryStops: it does not happen.
        """
        began, seen = time.monotonic(), len(self.visits)
        while time.monotonic() < began + WAIT_SECONDS and self._process.poll() is None:
            for visit in self.visits[seen:]:
                seen += 1
                if happened(visit):
                    return visit, time.monotonic() - began
            time.sleep(0.01)
        raise StoryStops("The clinic does not do what it should: it has ended, or waits.")

    def close(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait(timeout=WAIT_SECONDS)
        self._reading.join(WAIT_SECONDS)
        if self._process.stdout is not None:
            self._process.stdout.close()


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
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments, "--no-color"],
            cwd=CHECKOUT,
            env=self.environment,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        if bool(done.returncode) is not fails:
            raise StoryStops(f"manage.py {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout

    def asked(self) -> int:
        """Return how often the KMS was asked to open something, by its own log."""
        return len(self.kms.requests("transit/decrypt/clinic"))
