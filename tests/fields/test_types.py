"""Type checkers know the values of encrypted fields and their options, with django-stubs or not.

They find what is wrong in `typed/models.py` and in a module about every type, line by line, and
nothing else.
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
from django.db import models

from envelope_fields.fields import EncryptedFieldMixin, EncryptedTextField, types
from tests.fields.family import FAMILY

pytestmark = pytest.mark.any_django

ROOT = Path(__file__).parent.parent.parent
MODELS = ROOT / "tests" / "fields" / "typed" / "models.py"
BY_PLUGIN = MODELS.with_name("by_plugin.py")

INTEGERS = [name for name in FAMILY if name.endswith("Integer")]

# What an attribute gives, what may be assigned to it, and what may not.
VALUES = {
    **dict.fromkeys(("Char", "URL", "Slug"), ("str", ["''", "1"], "b''")),
    **dict.fromkeys(("Email", "FilePath", "GenericIPAddress"), ("str", ["''"], "1")),
    **dict.fromkeys(INTEGERS, ("int", ["1", "1.0", "'1'"], "Decimal()")),
    "Decimal": ("Decimal", ["Decimal()", "1", "1.5", "'1'"], "b''"),
    "Float": ("float", ["1.5", "1", "'1'"], "Decimal()"),
    "Boolean": ("bool", ["True"], "'yes'"),
    "Date": ("date", ["date.min", "datetime.min", "''"], "1"),
    "DateTime": ("datetime", ["datetime.min", "date.min", "''"], "time()"),
    "Time": ("time", ["time()", "datetime.min", "''"], "date.min"),
    "Duration": ("timedelta", ["timedelta()", "''"], "1"),
    "UUID": ("UUID", ["UUID(int=1)", "''", "1"], "1.5"),
    "Binary": ("bytes", ["b''", "bytearray()", "memoryview(b'')"], "''"),
}
OPTIONS = {
    "Slug": "allow_unicode=True, max_length=5",
    "FilePath": "path='/', recursive=True",
    "Decimal": "max_digits=5, decimal_places=2",
    "Date": "auto_now=True",
    "Time": "auto_now_add=True",
    "GenericIPAddress": "protocol='ipv4', unpack_ipv4=False",
    "Binary": "max_length=5, editable=True",
}


def family():
    """Return a module that looks at a field of every type, and assigns to it."""
    declared, looked = [], []
    for name, (kind, accepted, refused) in VALUES.items():
        field, options = f"Encrypted{name}Field", OPTIONS.get(name, "")
        declared += [
            f"    a{name} = fields.{field}('its name', {options})",
            f"    b{name} = fields.{field}(null=True, key='lab', {options})",
            f"    c{name} = fields.{field}(colour='red')  # wrong",
            f"    d{name} = fields.{field}(null=True, unique=True)  # wrong",
        ]
        looked += [
            f"    assert_type(row.a{name}, {kind})",
            f"    assert_type(row.b{name}, {kind} | None)",
            *(f"    row.{each}{name} = {value}" for each in "ab" for value in accepted),
            f"    row.b{name} = None",
            f"    row.a{name} = None  # wrong",
            f"    row.a{name} = {refused}  # wrong",
            f"    row.b{name} = {refused}  # wrong",
        ]
    lines = [
        "from datetime import date, datetime, time, timedelta",
        "from decimal import Decimal",
        "from typing import Any, assert_type",
        "from uuid import UUID",
        "from django.db import models",
        "from envelope_fields import fields",
        "class Birthday(fields.EncryptedDateField):",
        "    def __init__(self, *args: Any, country: str, **kwargs: Any) -> None:",
        "        super().__init__(*args, **kwargs)",
        "        self.country = country",
        "class Row(models.Model):",
        *declared,
        "    birthday = Birthday(null=True, country='de')",
        "    class Meta:",
        "        app_label = 'typed'",
        "def look(row: Row) -> None:",
        *looked,
        "    row.birthday = date.min",
    ]
    return "\n".join([*lines, ""])


def wrong_in(path):
    lines = enumerate(path.read_text().splitlines(), start=1)
    return {number for number, line in lines if line.endswith("# wrong")}


@pytest.fixture(scope="module")
def modules(pytestconfig):
    """Return the modules that are looked at, and the lines that are wrong in each."""
    written = (
        pytestconfig.cache.mkdir("typed") / "family.py"
    )  # a place that the checkers' caches know
    if not written.exists() or written.read_text() != family():
        written.write_text(family())
    return {path: wrong_in(path) for path in (MODELS, written)}


def test_every_type_is_looked_at():
    assert VALUES.keys() == FAMILY.keys()


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
    "db_collation",
    *(f"unique_for_{each}" for each in ("date", "month", "year")),
}
INTERNAL = {"rel", "auto_created"}
POSITIONAL = {"self", "verbose_name", "name", "args", "kwargs"}
DECLARED = {
    types.TextOptions: ("Text", "Char", "Email", "URL", "Binary"),
    types.SlugOptions: ("Slug",),
    types.FilePathOptions: ("FilePath",),
    types.AddressOptions: ("GenericIPAddress",),
    types.DecimalOptions: ("Decimal",),
    types.NowOptions: ("Date", "DateTime", "Time"),
    types.Options: ("Float", "Boolean", "Duration", "UUID", *INTEGERS),
}


def taken_by(kind):
    """Return the options of a class of Django's, whichever of its bases takes them."""
    made = [inspect.signature(each.__init__).parameters for each in kind.__mro__[:-1]]
    return set().union(*made)


@pytest.mark.parametrize("options", DECLARED, ids=lambda each: each.__name__)
def test_options_are_those_of_the_mixin_and_of_django(options):
    ours = inspect.signature(EncryptedFieldMixin.__init__).parameters
    named = {each.name for each in ours.values() if each.kind is each.KEYWORD_ONLY}
    declared = set(options.__annotations__)
    length = {"max_length"} - declared  # which all fields of Django take, and few use
    for name in DECLARED[options]:
        django_s = taken_by(getattr(models, f"{name}Field"))
        assert declared - named == django_s - REFUSED - INTERNAL - POSITIONAL - length
    assert named <= declared


def test_options_of_every_type_are_declared():
    assert set().union(*DECLARED.values()) == {*FAMILY, "Text"}


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


@pytest.mark.checkers
@pytest.mark.parametrize("stubs", ["with", "without"])
def test_mypy(stubs, modules, tmp_path, pytestconfig):
    pytest.importorskip("mypy")
    pytest.importorskip("mypy_django_plugin")
    config = tmp_path / "mypy.ini"
    config.write_text(MYPY[stubs])
    cache = pytestconfig.cache.mkdir(f"mypy-{stubs}-stubs")
    if stubs == "with":
        modules = {**modules, BY_PLUGIN: wrong_in(BY_PLUGIN)}
    said = run(
        "mypy",
        f"--config-file={config}",
        f"--cache-dir={cache}",
        "--follow-imports=silent",
        "--show-absolute-path",
        *modules,
    )
    found = {path: set() for path in modules}
    for path, line in re.findall(r"^(.+?):(\d+): error: ", said, re.MULTILINE):
        found[Path(path)].add(int(line))
    assert found == modules, said


@pytest.mark.checkers
@pytest.mark.parametrize("stubs", ["with", "without"])
def test_pyright(stubs, modules, tmp_path):
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
        "include": [str(each) for each in modules],
        "extraPaths": [str(ROOT)],
        "venvPath": str(environment.parent),
        "venv": environment.name,
    }
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(config))
    said = run("basedpyright", "--outputjson", "--project", tmp_path)
    found = {path: set() for path in modules}
    for each in json.loads(said)["generalDiagnostics"]:
        if each["severity"] == "error":
            found[Path(each["file"])].add(each["range"]["start"]["line"] + 1)
    assert found == modules, said
