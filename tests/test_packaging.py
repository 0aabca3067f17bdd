"""What pyproject.toml declares is what is pinned, tested and kept."""

import configparser
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DECLARED = [
    Requirement(text)
    for group in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())
    for text in group
]


def pins(name: str) -> dict[str, str]:
    found = re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / name).read_text(), re.MULTILINE)
    return {package.lower(): version for package, version in found}


def classified(prefix: str) -> set[str]:
    """The versions that the classifiers name, of Python or of Django."""
    pattern = re.compile(re.escape(prefix) + r" :: (\d+\.\d+)")
    return {match[1] for text in PROJECT["classifiers"] if (match := pattern.fullmatch(text))}


def matrix_environments() -> list[str]:
    """The environments of tox.ini, with `py312-dj{52,60}` written out."""
    tox = configparser.ConfigParser()
    tox.read(ROOT / "tox.ini")
    names = []
    for line in tox["tox"]["env_list"].split():
        head, _, factors = line.rstrip("}").partition("{")
        names += [head + factor for factor in factors.split(",")]
    return names


@pytest.mark.parametrize("requirement", DECLARED, ids=str)
def test_what_is_declared_is_pinned(requirement: Requirement) -> None:
    pinned: dict[str, str] = {}
    for file in ROOT.glob("requirements*.txt"):
        pinned |= pins(file.name)
    assert requirement.specifier.contains(Version(pinned[requirement.name.lower()]))


def test_requirements_are_exact() -> None:
    for file in ROOT.glob("requirements*.txt"):
        for line in file.read_text().splitlines():
            assert re.fullmatch(r"|#.*|-r requirements[\w-]*\.txt|[\w.-]+==[\w.]+", line), line


def test_tox_covers_every_classifier() -> None:
    names = re.findall(r"py(3)(\d+)-dj(\d)(\d)\b", " ".join(matrix_environments()))
    pythons = {f"{major}.{minor}" for major, minor, _, _ in names}
    djangos = {f"{major}.{minor}" for _, _, major, minor in names}
    assert pythons == classified("Programming Language :: Python")
    assert djangos == classified("Framework :: Django")


def test_only_two_packages_are_needed() -> None:
    assert {Requirement(text).name for text in PROJECT["dependencies"]} == {
        "Django",
        "cryptography",
    }


def test_the_package_is_typed() -> None:
    assert (ROOT / "envelope_fields" / "py.typed").exists()


def test_imports_point_downwards_only() -> None:
    # In a process of its own: import-linter switches off all loggers that there are.
    program = "from importlinter.cli import lint_imports as lint; exit(lint(no_cache=True))"
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout
