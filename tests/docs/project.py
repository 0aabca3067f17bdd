"""A project that is made by following a page."""

import os
import re
import shutil
import subprocess
import sys
from doctest import ELLIPSIS, NORMALIZE_WHITESPACE, OutputChecker
from itertools import groupby
from pathlib import Path

from tests.docs.pages import ROOT, Block, Page

FILE = re.compile(r"# (?P<path>\S+\.\w+)(?P<append>, at the end)?\n")
VERSION_ID = re.compile(r"\b[0-9a-f]{16}\b")
# Like `python manage.py shell`, with the block on standard input.
SHELL = "import sys; from tests.docs.session import run; run(sys.stdin.read(), globals())"


def empty_environment() -> dict[str, str]:
    """Return nothing that the tests themselves were told: neither their settings nor their keys."""
    mine = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DJANGO_", "ENVELOPE_"))
    }
    path = f"{Path(sys.executable).parent}{os.pathsep}{mine.get('PATH', os.defpath)}"
    found = os.pathsep.join((str(ROOT), str(ROOT / "tests" / "docs" / "impatient")))
    return {**mine, "PATH": path, "PYTHONPATH": found}


class Project:
    def __init__(self, directory: Path, environment: dict[str, str]) -> None:
        self.directory = directory
        self.environment = environment

    @classmethod
    def empty(cls, directory: Path, *commands: Path) -> "Project":
        """Make a project where commands are looked for in these directories first."""
        directory.mkdir()
        environment = empty_environment()
        environment["PATH"] = os.pathsep.join((*map(str, commands), environment["PATH"]))
        return cls(directory, environment)

    def copy(self, directory: Path) -> "Project":
        shutil.copytree(self.directory, directory)
        return Project(directory, dict(self.environment))

    def follow(self, page: Page) -> "Project":
        for language, blocks in groupby(page.runnable, key=lambda block: block.language):
            if language == "pycon":  # one session, until something else is done
                self._type(*blocks)
            else:
                for block in blocks:
                    self._do(block)
        return self

    def run(self, *commands: str) -> None:
        """Run commands, as if a page had them."""
        text = "".join(f"$ {each}\n" for each in commands)
        self._do(Block(Page(Path(__file__)), 0, "console", text, "", ""))

    def _do(self, block: Block) -> None:
        if block.language == "console":
            for command, shown in _commands(block.text):
                self._run(block, ["bash", "-c", f"{command}\n{SAVE_ENVIRONMENT}"], shown=shown)
        elif file := FILE.match(block.text):
            self._write(file["path"], block.text[file.end() :], bool(file["append"]))
        else:
            self._type(block)

    def _type(self, *blocks: Block) -> None:
        typed = ""
        for block in blocks:  # on the lines that they have in the page, for messages
            typed += "\n" * (block.line - typed.count("\n")) + block.text
        shell = ["python", "manage.py", "shell", "-v", "0", "-c", SHELL]
        self._run(blocks[0], shell, typed=_any_id(typed))

    def _write(self, path: str, text: str, append: bool) -> None:
        target = self.directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        before = target.read_text() if append else ""
        target.write_text(before + text)

    def _run(self, block: Block, command: list[str], typed: str = "", shown: str = "") -> None:
        saved = self.directory.with_name(f"{self.directory.name}.environment")
        result = subprocess.run(
            command,
            cwd=self.directory,
            env={**self.environment, "SAVED_ENVIRONMENT": str(saved)},
            input=typed,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        what = f"{block}: {command[-1].partition(chr(10))[0] if not typed else 'the session'}"
        failed = result.returncode != 0
        assert failed == (block.mark == "fails"), f"{what}: {result.returncode}\n{result.stdout}"
        if shown:
            flags = ELLIPSIS | NORMALIZE_WHITESPACE
            same = OutputChecker().check_output(_any_id(shown), result.stdout, flags)
            assert same, f"{what} printed\n{result.stdout}\ninstead of\n{shown}"
        if saved.exists():
            self.environment = _environment(saved)


# What a command exports, the next one finds.
SAVE_ENVIRONMENT = 'status=$?; env -0 > "$SAVED_ENVIRONMENT"; exit $status'


def _environment(saved: Path) -> dict[str, str]:
    lines = saved.read_text().split("\0")
    return dict(line.split("=", 1) for line in lines if "=" in line)


def _any_id(shown: str) -> str:
    return VERSION_ID.sub("...", shown)


def _commands(text: str) -> list[tuple[str, str]]:
    """Split a console block into its commands, each with the output shown below it."""
    assert text.startswith("$ "), "a console block begins with a command: $ ..."
    commands = []
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, shown = re.sub(r"\\\n\s*", "", part).partition("\n")
        commands.append((command, shown))
    return commands
