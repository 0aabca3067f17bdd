"""The processes that a story starts: management commands, and a clinic at work."""

from __future__ import annotations

import json
import select
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent
WAIT_SECONDS = 30
SECONDS_BETWEEN_VISITS = 0.05


class StoryStops(Exception):
    """Something did not happen that the story is about."""


def command(environment: dict[str, str], *arguments: str, fails: bool = False) -> str:
    """Run a management command in a process of its own, and return what it printed.

    Raises:
        StoryStops: it failed, or did not where it should.
    """
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments, "--no-color"],
        cwd=CHECKOUT,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    if bool(done.returncode) is not fails:
        raise StoryStops(f"manage.py {' '.join(arguments)}: {done.stdout}{done.stderr}")
    return done.stdout


class Clinic:
    """The process of a clinic, and what became of its visits.

    Args:
        module: what runs in it; calls `receive`.
        environment: all of it.

    Attributes:
        visits: what it printed of each.
    """

    def __init__(self, module: str, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", module],
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

    def without_errors(self, since: int = 0) -> int:
        """Return how many visits there were since one, none of which failed.

        Raises:
            StoryStops: one did.
        """
        failed = [visit for visit in self.visits[since:] if not went_well(visit)]
        if failed:
            raise StoryStops(f"{len(failed)} visits failed that should not have: {failed[0]}")
        return len(self.visits) - since

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


def went_well(visit: dict[str, Any]) -> bool:
    """Whether a visit met no error."""
    return "error" not in visit


def receive(visit: Callable[[int], None], errors: type[Exception]) -> None:
    """Receive visits in the process of a clinic, until its input ends.

    Each is printed as a line of JSON: its number, and the error that it met.

    Args:
        visit: is given the number.
        errors: the class of those that end a visit, and not the process.
    """
    number = 0
    while not select.select([sys.stdin], [], [], SECONDS_BETWEEN_VISITS)[0]:
        line: dict[str, Any] = {"visit": number}
        try:
            visit(number)
        except errors as error:
            line.update(error=type(error).__name__, message=str(error))
        print(json.dumps(line), flush=True)
        number += 1
