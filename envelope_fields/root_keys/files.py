"""Files that hold a secret: a root key, a PIN, a token. Others may not reach them."""

import os
import stat
from pathlib import Path
from typing import Final

from envelope_fields.exceptions import RootKeyUnavailable

_LIMIT: Final = 4096  # far more than a secret takes
# What group or others may do, on systems that have them (st_mode has no such bits else).
OTHERS: Final = stat.S_IRWXO
GROUP_AND_OTHERS: Final = stat.S_IRWXG | OTHERS


def read_private(path: Path, holds: str, closed_to: int = GROUP_AND_OTHERS) -> str:
    """Return the text of a file that others cannot reach.

    Args:
        path: the file.
        holds: what is in it, for messages, such as "a root key".
        closed_to: the permission bits that it must not have; by default it is its owner's alone.

    Raises:
        FileNotFoundError: it does not exist; the caller knows how to make one.
        ValueError: it is not a file, or others can reach it.
        RootKeyUnavailable: it cannot be read now.
    """
    try:
        # Not waiting: a named pipe would never answer.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _unreadable(path, error) from error
    try:
        _check_private(path, holds, os.fstat(descriptor).st_mode, closed_to)
        return os.read(descriptor, _LIMIT).decode("utf-8", errors="replace")
    except OSError as error:
        raise _unreadable(path, error) from error
    finally:
        os.close(descriptor)


def _check_private(path: Path, holds: str, mode: int, closed_to: int) -> None:
    if not stat.S_ISREG(mode):
        raise ValueError(f"{path} is not a file, and should be one that holds {holds}")
    if os.name == "posix" and mode & closed_to:
        raise ValueError(
            f"the file {path} holds {holds} and others can reach it "
            f"(mode {stat.S_IMODE(mode):04o}). Run: chmod 600 {path}"
        )


def _unreadable(path: Path, error: OSError) -> RootKeyUnavailable:
    return RootKeyUnavailable(f"the file {path} cannot be read: {error.strerror}")
