"""What options of root keys name: seconds, functions, variables, and files that hold a secret."""

import os
import re
import stat
from importlib import import_module
from math import inf
from pathlib import Path
from typing import Any, Final

from envelope_fields.exceptions import RootKeyUnavailable

_LIMIT: Final = 4096  # far more than a secret takes
# What group or others may do, on systems that have them (st_mode has no such bits else).
OTHERS: Final = stat.S_IRWXO
GROUP_AND_OTHERS: Final = stat.S_IRWXG | OTHERS
_NAME: Final = re.compile("[A-Za-z_][A-Za-z0-9_]*").fullmatch


class WrongSetting(ValueError):
    """An option of a root key, or a setting of its client, that cannot be right."""


def seconds(timeout: Any) -> float:
    """Return the option `timeout` as a number.

    Raises:
        ValueError: it is not a number, infinite, or not more than 0.
    """
    if isinstance(timeout, int | float) and not isinstance(timeout, bool) and 0 < timeout < inf:
        return float(timeout)
    raise ValueError("timeout is a number of seconds above 0")


def imported(option: str, path: str) -> Any:
    """Return what an option names by its dotted path.

    Raises:
        WrongSetting: it is not there.
    """
    module, _, name = path.rpartition(".")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise WrongSetting(f"{option} names {path}, which cannot be imported: {error}") from None


def variable(option: str, name: str) -> str:
    """Return how messages call an environment variable: not by what may be the secret itself."""
    if _NAME(name):
        return f"the environment variable {name}"
    return (
        f"the environment variable that the option `{option}` names (by a name that is not shown: "
        "is it the secret itself?)"
    )


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
