"""A virtual environment in which the other packages are installed, one after the other."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]
RUNTIME = ROOT / "requirements-runtime.txt"
PEERS = ROOT / "bench" / "requirements-peers.txt"

# Below .venv, so that what ignores or removes that one does so with this one too.
DIRECTORY = ROOT / ".venv" / f"peers-{sys.version_info.major}.{sys.version_info.minor}"


def make() -> tuple[str, dict[str, str]]:
    """Return the environment's interpreter, and why a package could not be installed."""
    python = DIRECTORY / "bin" / "python"
    if not python.exists():
        venv.create(DIRECTORY, with_pip=True)
    if refused := _install(str(python), "-r", str(RUNTIME)):
        sys.exit(f"{RUNTIME.name} could not be installed: {refused}")
    missing = {}
    for line in PEERS.read_text().splitlines():
        pin = line.partition("#")[0].strip()
        # Our own versions are the constraint: a package that wants others stays out.
        if pin and (refused := _install(str(python), pin, "-c", str(RUNTIME))):
            missing[pin] = refused
    return str(python), missing


def _install(python: str, *what: str) -> str:
    """Install something; return the last line of the complaint, if there is one."""
    command = [python, "-m", "pip", "--disable-pip-version-check", "--quiet", "install", *what]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return done.stderr.strip().rpartition("\n")[2] if done.returncode else ""
