"""What the story with a live column happens in: a directory with the clinic's project."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from demo_project.moving.clinic import WORD
from demo_project.processes import Clinic, StoryStops, command, went_well

APPLICATION = Path(__file__).parent / "visits"


class Scene:
    """A directory with the application, its database and root key, and the clinic at work.

    Attributes:
        visits: how many there were, under builds that are not deployed any more.
    """

    def __init__(self, directory: Path) -> None:
        self._database = directory / "clinic.sqlite3"
        self._models = directory / "visits" / "models.py"
        self._clinic: Clinic | None = None
        self._environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "demo_project.moving.settings",
            "CLINIC_MOVING_DIRECTORY": str(directory),
            "PYTHONPATH": str(directory),
        }
        self.visits = 0
        shutil.copytree(APPLICATION, self._models.parent, ignore=shutil.ignore_patterns("__pyc*"))
        self.command("generate_root_key", "--file", str(directory / "root.key"))

    def command(self, *arguments: str) -> str:
        """Run a management command, and return what it printed."""
        return command(self._environment, *arguments)

    # The application

    def field_lines(self) -> str:
        """Return the lines of the model that declare its notes."""
        return "".join(re.findall(r"^    notes.*?(?:\)\n|^    \)\n)", self._source(), re.M | re.S))

    def paste(self, lines: str, imports: str) -> None:
        """Write other lines in the place of those that declare the notes."""
        source = self._source().replace(self.field_lines(), lines + "\n")
        if imports not in source:
            source = source.replace("models\n", f"models\n\n{imports}\n", 1)
        self._models.write_text(source)

    def lines_to_paste(self) -> dict[str, Any]:
        """Have the migrations be written, and return the lines to paste."""
        found: dict[str, Any] = json.loads(
            self.command("encrypt_field", "visits.Visit.notes", "--write", "--json")
        )
        return found

    def _source(self) -> str:
        return self._models.read_text()

    # The clinic at work

    def deploy(self) -> None:
        """Have the clinic work with the application as it is now, until the next time."""
        self.close()
        self._clinic = Clinic("demo_project.moving.clinic", self._environment)
        self._clinic.wait(went_well)

    def at_work(self, *arguments: str) -> tuple[str, int]:
        """Run a command while the clinic works; return what it printed, and the visits meanwhile.

        Raises:
            StoryStops: a visit failed, or none came.
        """
        if self._clinic is None:
            raise StoryStops("The clinic is closed.")
        since = len(self._clinic.visits)
        printed = self.command(*arguments)
        self._clinic.wait(went_well)
        return printed, self._clinic.without_errors(since)

    def close(self) -> None:
        """End the clinic's process, and count its visits.

        Raises:
            StoryStops: one failed.
        """
        clinic, self._clinic = self._clinic, None
        if clinic is not None:
            clinic.close()
            self.visits += clinic.without_errors()

    # The database, as any SQL client sees it

    def sql(self, statement: str) -> list[dict[str, Any]]:
        """Return the rows of a statement."""
        with closing(sqlite3.connect(self._database, timeout=30)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(statement)]

    def times_in_clear(self) -> int:
        """Count how often a word of the notes is in the files of the database."""
        files = self._database.parent.glob(f"{self._database.name}*")
        return sum(file.read_bytes().count(WORD.encode()) for file in files)
