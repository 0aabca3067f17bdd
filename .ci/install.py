"""Install packages into this environment: with uv where it is there, else with pip.

    python .ci/install.py [arguments of `pip install`]

They install the same; uv takes seconds where pip takes a minute. Where uv does not find the index
that pip is set up for, pip goes on, and says what is wrong if it does not either.
"""

import shutil
import subprocess
import sys
from pathlib import Path

OWN_UV = Path(__file__).parent.parent / ".venv" / "bin" / "uv"


def uv() -> str | None:
    """Return the path of uv, that of `make` or another."""
    return str(OWN_UV) if OWN_UV.exists() else shutil.which("uv")


def main(arguments: list[str]) -> int:
    path = uv()
    if path is not None:
        command = [path, "pip", "install", "--quiet", "--python", sys.executable]
        command += ["--compile-bytecode", *arguments]  # once, and not by every process of the tests
        if subprocess.run(command, capture_output=True, check=False).returncode == 0:
            return 0
        print("uv cannot install these here; pip does, which takes longer.", flush=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
    return subprocess.call([*pip, *arguments])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
