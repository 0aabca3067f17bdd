"""Type checkers know the values of encrypted fields and their options, with django-stubs or not.

They find what is wrong in `typed/models.py`, line by line, and nothing else.
"""

import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import django
import pytest
from django.db.models import Field

from envelope_fields.fields import EncryptedFieldMixin, EncryptedTextField
from envelope_fields.fields.types import Options, TextOptions
from tests.fields.family import FAMILY

pytestmark = pytest.mark.any_django

ROOT = Path(__file__).parent.parent.parent
MODELS = ROOT / "tests" / "fields" / "typed" / "models.py"
WRONG = {
    number
    for number, line in enumerate(MODELS.read_text().splitlines(), start=1)
    if line.endswith("# wrong")
}

MYPY = {
    "with": """
[mypy]
strict = true
plugins = mypy_django_plugin.main
[mypy.plugins.django-stubs]
django_settings_module = tests.fields.typed.settings
""",
    "without": """
[mypy]
strict = true
disallow_subclassing_any = false
ignore_missing_imports = true
no_site_packages = true
""",
}


# What a column of envelopes cannot have, and what Django alone gives.
REFUSED = {
    "unique",
    "primary_key",
    "db_index",
    "db_default",
    *(f"unique_for_{each}" for each in ("date", "month", "year")),
}
INTERNAL = {"rel", "auto_created"}
DECLARED_APART = {"self", "verbose_name", "name", "null"}


def test_options_are_those_of_the_mixin_and_of_django():
    ours = inspect.signature(EncryptedFieldMixin.__init__).parameters
    named = {each.name for each in ours.values() if each.kind is each.KEYWORD_ONLY}
    django_s = set(inspect.signature(Field.__init__).parameters)
    declared = set(TextOptions.__annotations__)
    assert declared - named == django_s - REFUSED - INTERNAL - DECLARED_APART
    assert named <= declared
    assert set(Options.__annotations__) == declared - {"max_length"}


def test_at_run_time_types_are_nothing():
    assert EncryptedTextField[str, str] is EncryptedTextField


def run(*command):
    """Run a checker, and return what it says; it fails where it finds something."""
    command = [sys.executable, "-m", *map(str, command)]
    environment = {**os.environ, "MYPYPATH": str(ROOT), "PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 1, result.stdout + result.stderr
    return result.stdout


@pytest.mark.parametrize("stubs", ["with", "without"])
def test_mypy(stubs, tmp_path, pytestconfig):
    pytest.importorskip("mypy")
    pytest.importorskip("mypy_django_plugin")
    config = tmp_path / "mypy.ini"
    config.write_text(MYPY[stubs])
    cache = pytestconfig.cache.mkdir(f"mypy-{stubs}-stubs")
    said = run(
        "mypy", f"--config-file={config}", f"--cache-dir={cache}", "--follow-imports=silent", MODELS
    )
    assert {int(line) for line in re.findall(r":(\d+): error: ", said)} == WRONG, said


def test_mypy_knows_every_type_by_the_plugin(tmp_path, pytestconfig):
    """What an attribute gives, with NULL and without; the last line alone is wrong."""
    pytest.importorskip("mypy_django_plugin")
    # The stubs know no type of these of Django's.
    known = FAMILY.keys() - {"Binary", "FilePath"}
    kinds = {name: type(FAMILY[name][1][0]) for name in sorted(known)}
    lines = [
        "import datetime, decimal, uuid",
        "from typing import assert_type",
        "from django.db import models",
        "from envelope_fields import fields",
        "class Row(models.Model):",
        *(f"    a{name} = fields.Encrypted{name}Field(key='lab')" for name in kinds),
        *(f"    b{name} = fields.Encrypted{name}Field(null=True)" for name in kinds),
        "    class Meta:",
        "        app_label = 'typed'",
        "def look(row: Row) -> None:",
    ]
    for name, kind in kinds.items():
        module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
        value = f"{module}{kind.__name__}"
        lines += [
            f"    assert_type(row.a{name}, {value})",
            f"    assert_type(row.b{name}, {value} | None)",
        ]
    written = tmp_path / "rows.py"
    written.write_text("\n".join([*lines, "    row.aDate.upper()"]))
    config = tmp_path / "mypy.ini"
    config.write_text(MYPY["with"])
    cache = pytestconfig.cache.mkdir("mypy-family")
    said = run(
        "mypy",
        f"--config-file={config}",
        f"--cache-dir={cache}",
        "--follow-imports=silent",
        written,
    )
    assert re.findall(r":(\d+): error: ", said) == [str(len(lines) + 1)], said


@pytest.mark.parametrize("stubs", ["with", "without"])
def test_pyright(stubs, tmp_path):
    """The one that its fork basedpyright packs, which brings its own node and loads nothing."""
    pytest.importorskip("basedpyright")
    environment = Path(sys.prefix)
    if stubs == "without":
        environment = tmp_path / "environment"
        packages = environment / Path(*Path(django.__file__).parts[-5:-2])
        packages.mkdir(parents=True)
        (packages / "django").symlink_to(Path(django.__file__).parent)
    config = {
        "typeCheckingMode": "standard",
        "include": [str(MODELS)],
        "extraPaths": [str(ROOT)],
        "venvPath": str(environment.parent),
        "venv": environment.name,
    }
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(config))
    said = run("basedpyright", "--outputjson", "--project", tmp_path)
    found = [each for each in json.loads(said)["generalDiagnostics"] if each["severity"] == "error"]
    assert {each["range"]["start"]["line"] + 1 for each in found} == WRONG, found
