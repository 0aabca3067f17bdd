"""Install the MariaDB driver into this environment, where it can be compiled.

It is optional: without the client library the tests run on the other databases, and say so.
"""

import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

REQUIREMENTS = Path(__file__).parent.parent / "requirements-mariadb.txt"
INSTALL = Path(__file__).parent / "install.py"


def is_installed() -> bool:
    try:
        pin = f"mysqlclient=={metadata.version('mysqlclient')}"
    except metadata.PackageNotFoundError:
        return False
    return pin in REQUIREMENTS.read_text().splitlines()


def can_be_built() -> bool:
    """mysqlclient asks pkg-config for the client library, and compiles against it."""
    if shutil.which("pkg-config") is None:
        return False
    names = ("libmariadb", "mariadb", "mysqlclient")
    return any(subprocess.call(["pkg-config", "--exists", name]) == 0 for name in names)


def install() -> bool:
    return subprocess.call([sys.executable, str(INSTALL), "-r", str(REQUIREMENTS)]) == 0


def main() -> None:
    if is_installed():
        return
    if not can_be_built():
        print("MariaDB driver: no client library found (Debian: libmariadb-dev, pkg-config).")
    elif not install():
        print("MariaDB driver: it could not be compiled; see above.")


if __name__ == "__main__":
    main()
