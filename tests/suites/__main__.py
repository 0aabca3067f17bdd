"""Run the tests of each package with fields of ours in its models.

python -m tests.suites [SUITE ...] [arguments for its runner]
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from tests.suites.sources import unpacked

ROOT = Path(__file__).parents[2]
BESIDE = Path(__file__).parent / "beside"
PYTEST = ("-m", "pytest", "-q", "-n", "2", "-p", "no:randomly", "-p", "swapped.pytest_refused")


class Suite(NamedTuple):
    """Tests of a package.

    Attributes:
        package: in whose source they are.
        settings: their module, in `beside/swapped`.
        command: what runs them, after the interpreter.
        folder: where, in the source.
        path: what of the source is imported, from there.
    """

    package: str
    settings: str
    command: tuple[str, ...]
    folder: str = "."
    path: tuple[str, ...] = (".",)


ADMIN = (
    "admin_changelist", "admin_checks", "admin_custom_urls", "admin_default_site", "admin_docs",
    "admin_filters", "admin_inlines", "admin_ordering", "admin_registration", "admin_utils",
    "admin_views", "modeladmin",
)  # fmt: skip
DJANGO = ("-m", "swapped.django_tests")
SUITES = {
    "django_auth": Suite("django", "django_settings", (*DJANGO, "auth_tests"), "tests"),
    "django_admin": Suite("django", "django_settings", (*DJANGO, *ADMIN), "tests"),
    "django_widgets": Suite("django", "django_settings", (*DJANGO, "admin_widgets"), "tests"),
    "django_allauth": Suite(
        "django-allauth",
        "allauth_settings",
        (*PYTEST, "tests/apps/account", "tests/apps/socialaccount"),
    ),
    "django_otp": Suite(
        "django-otp",
        "otp_settings",
        ("-m", "django", "test", "--noinput", "django_otp"),
        path=("test", "src"),
    ),
}


def run(name: str, arguments: list[str]) -> bool:
    """Run a suite; say how it went, and return whether its tests did what is said of them."""
    suite = SUITES[name]
    folder = unpacked(suite.package) / suite.folder
    path = [*(folder / each for each in suite.path), ROOT, BESIDE]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, path)),
        "DJANGO_SETTINGS_MODULE": f"swapped.{suite.settings}",
        "SUITE": name,
        "SUITE_PART": " ".join(arguments),
    }
    began = time.monotonic()
    print(f"\n=== {name} ===", flush=True)
    command = [sys.executable, *suite.command, *arguments]
    result = subprocess.run(command, cwd=folder, env=environment, check=False)
    print(f"=== {name}: {time.monotonic() - began:.0f} s ===", flush=True)
    return result.returncode == 0


def main(arguments: list[str]) -> int:
    names = [argument for argument in arguments if argument in SUITES] or list(SUITES)
    others = [argument for argument in arguments if argument not in SUITES]
    failed = [name for name in names if not run(name, others)]
    print(f"Suites: {len(names)}, failed: {', '.join(failed) or 'none'}.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
