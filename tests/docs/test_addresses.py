"""Where messages and metadata send their readers: to pages that are there, from anywhere."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

import envelope_fields
from envelope_fields.exceptions import DOCUMENTATION as URL, documentation_page

ROOT = Path(__file__).parents[2]
PACKAGE = Path(envelope_fields.__path__[0])
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SOURCES = sorted(PACKAGE.rglob("*.py"))


def is_page(address):
    path, _, anchor = address.removeprefix(URL).partition("#")
    source = ROOT / "docs" / (path.removesuffix(".html") or "index")
    text = source.with_suffix(".md")
    return text.exists() and (not anchor or anchor in text.read_text().lower().replace(" ", "-"))


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"])
def test_links_of_what_stands_outside_the_documentation(name):
    """The README is the description on the package index."""
    text = (ROOT / name).read_text()
    defined = dict(re.findall(r"^\[([\w-]+)\]: (\S+)$", text, re.M))
    used = set(re.findall(r"\]\[([\w-]+)\]", text))
    inline = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if link[0] != "#"]
    assert used == set(defined)
    for address in [*inline, *defined.values()]:
        assert address.startswith("https://"), address
        assert not address.startswith(URL) or is_page(address), address


def test_addresses_of_the_project():
    assert PROJECT["urls"]["Documentation"] == URL
    for address in PROJECT["urls"].values():
        assert is_page(address), address


def constants(tree):
    """Yield the texts of a module that are no docstrings."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if is_text and id(node) not in docstrings:
            yield node.value


def test_messages_name_no_file_that_the_wheel_lacks():
    for path in SOURCES:
        for text in constants(ast.parse(path.read_text())):
            assert not re.search(r"\b(docs|tests|changelog\.d)/|\.md\b", text), (
                path,
                text,
            )
    for path in sorted(PACKAGE.rglob("*.html")):
        assert not re.search(r"\bdocs/|\.md\b", path.read_text()), path


def test_pages_of_messages_are_there():
    named = {
        node.args[0].value
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and getattr(node.func, "id", "") == "documentation_page"
        and node.args
        if isinstance(node.args[0], ast.Constant)
    }
    assert "how-to/encrypt-an-existing-column" in named
    for name in named:
        assert is_page(documentation_page(name)), name


def test_every_extra_is_explained():
    text = (ROOT / "docs/reference/installation.md").read_text()
    assert set(re.findall(r"^\| `(\w+)` \|", text, re.M)) == set(PROJECT["optional-dependencies"])
