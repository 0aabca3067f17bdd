"""Where the demo keeps things: the database in the checkout, the root key outside of it.

Nothing is made by looking; settings are read by many commands.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
NAME = "envelope-fields-demo"


class NotPrivate(Exception):
    """The directory for the root key is, or could be, in somebody else's hands."""


def database() -> Path:
    """Return the SQLite file; CLINIC_DATABASE names another."""
    return Path(os.environ.get("CLINIC_DATABASE") or CHECKOUT / "demo_project" / "clinic.sqlite3")


def root_key() -> Path:
    """Return the file of the root key, in the user's data directory or a private temporary one."""
    for directory in _data_directories():
        if _can_be_written(directory) and not _in_checkout(directory):
            return directory / NAME / "root.key"
    return _temporary() / "root.key"


def is_temporary() -> bool:
    """Whether the root key is where the system may clean up."""
    return root_key().parent == _temporary()


def make_private(directory: Path) -> None:
    """Make a directory that only this user can enter, or make sure of one that is there.

    Raises:
        NotPrivate: in a directory that all share, somebody else was quicker.
        OSError: it cannot be made.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = directory.lstat()
    if os.name == "posix" and (
        not stat.S_ISDIR(found.st_mode)
        or found.st_uid != os.getuid()
        or stat.S_IMODE(found.st_mode) & 0o022
    ):
        raise NotPrivate(
            f"{directory} is for a root key, and must be a directory of yours that nobody else can "
            f"write to. Run: chmod 700 {directory}, or remove it if it is not yours."
        )


def _data_directories() -> Iterator[Path]:
    """Find candidates as the XDG Base Directory Specification does; it ignores relative paths."""
    data, home = Path(os.environ.get("XDG_DATA_HOME", "")), Path(os.environ.get("HOME", ""))
    if data.is_absolute():
        yield data
    if home.is_absolute() and home.is_dir():
        yield home / ".local" / "share"


def _can_be_written(directory: Path) -> bool:
    """Whether files can be made in a directory, which itself may have to be made first."""
    target = directory / NAME
    existing = next(path for path in (target, *target.parents) if path.exists())
    return existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)


def _in_checkout(directory: Path) -> bool:
    return directory.resolve().is_relative_to(CHECKOUT)


def _temporary() -> Path:
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "")
    return Path(tempfile.gettempdir()) / f"{NAME}-{user}"
