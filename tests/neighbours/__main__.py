"""Run the tests of each project with its own settings, two projects at a time.

python -m tests.neighbours [PROJECT ...] [arguments for pytest]
"""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
PROJECTS = sorted(settings.parent.name for settings in HERE.glob("*/settings.py"))
AT_ONCE = 2

# What a project needs in another version than the others, by its name.
APART = Path(sys.prefix)


def run(project: str, arguments: list[str]) -> bool:
    """Run the tests of a project; say how they went, and return whether they passed."""
    began = time.monotonic()
    command = [sys.executable, "-m", "pytest", "-q", f"tests/neighbours/{project}", *arguments]
    settings = f"tests.neighbours.{project}.settings"
    prefix = os.environ.get("ENVELOPE_TEST_DB_PREFIX", "envelope_fields")
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": settings,
        "ENVELOPE_TEST_DB_PREFIX": f"{prefix}_{project}",
    }
    if (APART / project).is_dir():
        environment["PYTHONPATH"] = str(APART / project)
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    print(f"\n=== {project}: {time.monotonic() - began:.1f} s ===\n{result.stdout}{result.stderr}")
    return result.returncode == 0


def main(arguments: list[str]) -> int:
    projects = [argument for argument in arguments if argument in PROJECTS] or PROJECTS
    for_pytest = [argument for argument in arguments if argument not in PROJECTS]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        passed = list(pool.map(lambda project: run(project, for_pytest), projects))
    failed = [project for project, well in zip(projects, passed, strict=True) if not well]
    print(f"Neighbours: {len(projects)} projects, failed: {', '.join(failed) or 'none'}.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
