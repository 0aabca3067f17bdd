"""The page about rotating a search key, in a project whose processes know of each step at once."""

from pathlib import Path

import pytest

from tests.docs.pages import ROOT, Page
from tests.docs.project import Project

PAGE = Page(ROOT / "docs/how-to/rotate-a-search-key.md")
SETTINGS = """
INSTALLED_APPS += ["envelope_fields", "clinic"]
MIDDLEWARE += ["envelope_fields.middleware.PrincipalMiddleware"]
ENVELOPE_FIELDS = {
    "ROOT_KEYS": {
        "default": {
            "BACKEND": "envelope_fields.root_keys.local.LocalRootKey",
            "OPTIONS": {"env": "ENVELOPE_ROOT_KEY"},
        },
    },
    "KEY_CACHE_SECONDS": 0,
}
"""


@pytest.mark.any_django
def test_the_page(tmp_path: Path, commands: Path) -> None:
    project = Project.empty(tmp_path / "project", commands)
    project.run("django-admin startproject mysite .", "python manage.py startapp clinic")
    settings = project.directory / "mysite" / "settings.py"
    settings.write_text(settings.read_text() + SETTINGS)
    project.run('export ENVELOPE_ROOT_KEY="$(python manage.py generate_root_key)"')
    project.follow(PAGE)
    project.run("python manage.py makemigrations --check", "python manage.py check")
