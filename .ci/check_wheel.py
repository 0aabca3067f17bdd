"""Check a built wheel: it holds the package and nothing else, and works with what it declares.

python .ci/check_wheel.py DIST_DIRECTORY
"""

import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "envelope_fields"

# Run where nothing but the wheel and its dependencies can be imported.
SMOKE_TEST = """
import base64
import os

import django
from django.conf import settings
from django.core.management import call_command

settings.configure(
    INSTALLED_APPS=["envelope_fields"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    ENVELOPE_FIELDS={
        "ROOT_KEYS": {
            "default": {
                "BACKEND": "envelope_fields.root_keys.local.LocalRootKey",
                "OPTIONS": {"key": base64.b64encode(os.urandom(32)).decode()},
            }
        }
    },
)
django.setup()
call_command("migrate", verbosity=0)

from envelope_fields import kms

envelope = kms.encrypt("default", b"hello", {})
assert kms.decrypt(envelope, {}) == b"hello"
"""


def expected_files() -> set[str]:
    return {
        str(path.relative_to(PACKAGE.parent))
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def content_errors(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    metadata = "-".join(wheel.name.split("-")[:2]) + ".dist-info/"
    packed = {name for name in names if not name.startswith(metadata)}
    expected = expected_files() | {"envelope_fields/py.typed"}
    return [
        *(f"must not be in the wheel: {name}" for name in sorted(packed - expected)),
        *(f"missing from the wheel: {name}" for name in sorted(expected - packed)),
        *([] if metadata + "licenses/LICENSE" in names else ["missing from the wheel: LICENSE"]),
    ]


def works_alone(wheel: Path) -> bool:
    with tempfile.TemporaryDirectory() as directory:
        venv.create(directory, with_pip=True)
        python = str(Path(directory, "bin", "python"))
        install = [python, "-m", "pip", "install", "--quiet", str(wheel.resolve())]
        for command in (install, [python, "-I", "-W", "error", "-c", SMOKE_TEST]):
            if subprocess.call(command, cwd=directory) != 0:
                return False
    return True


def main(directory: str) -> int:
    [wheel] = Path(directory).glob("*.whl")
    errors = content_errors(wheel)
    if not errors and not works_alone(wheel):
        errors = ["it does not work in an empty environment; see above"]
    for error in errors:
        print(f"{wheel.name}: {error}")
    if not errors:
        print(f"{wheel.name}: the package alone, and it works in an empty environment.")
    return bool(errors)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
