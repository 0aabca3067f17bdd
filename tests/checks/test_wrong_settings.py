"""A mistake in the settings is told by the checks, and by nothing else, whatever is run."""

import os
from pathlib import Path

import pytest
from django.contrib import admin
from django.core.checks import run_checks
from django.core.management import call_command

import envelope_fields
from envelope_fields.audit import denials, uses as key_uses
from tests import fork_server

ROOT = Path(envelope_fields.__file__).parent.parent
MISTAKES = [
    [],
    {"ROOT_KEY": {}},
    {"ROOT_KEYS": []},
    {"ROOT_KEYS": {"a": {"BACKEND": "b", "OPTION": {}}}},
    {"DATABASE": "nowhere"},
    {"DATABASE": ["default"]},
    {"KEY_CACHE_SECONDS": "60"},
    {"REQUIRE_PRINCIPAL": "False"},
    {"API": {"DATA": True}},
    {"ROTATION_WORKER": "celery"},
]


@pytest.mark.django_db(databases="__all__")
@pytest.mark.parametrize("mistake", MISTAKES, ids=str)
def test_all_checks_run(mistake, settings, caplog):
    settings.ENVELOPE_FIELDS = mistake
    assert admin.site.get_urls()
    found = run_checks(include_deployment_checks=True, databases=["default", "other"])
    ours = [message.id for message in found if message.id.startswith("envelope_fields.")]
    assert ours.count("envelope_fields.E001") == 1
    key_uses.buffer.at_end()
    denials.buffer.at_end()
    assert caplog.records == []


SETTINGS = """
INSTALLED_APPS += ["rest_framework", "envelope_fields"]
MIDDLEWARE += ["envelope_fields.middleware.PrincipalMiddleware"]
ENVELOPE_FIELDS = {"ROOT_KEY": {}}
"""
URLS = """
from django.urls import include
urlpatterns += [path("api/", include("envelope_fields.api.urls"))]
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project as `startproject` makes it, where a setting is misspelt."""
    path = tmp_path_factory.mktemp("project")
    call_command("startproject", "mysite", str(path))
    with (path / "mysite" / "settings.py").open("a") as settings:
        settings.write(SETTINGS)
    with (path / "mysite" / "urls.py").open("a") as urls:
        urls.write(URLS)
    return path


@pytest.mark.parametrize("command", ["check", "migrate", "runserver"])
def test_a_fresh_project(command, project):
    arguments = ["--noreload", "127.0.0.1:0"] if command == "runserver" else []
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "DJANGO_SETTINGS_MODULE": "mysite.settings",
    }
    ended = fork_server.completed(
        ["manage.py", command, *arguments], environment=environment, directory=project
    )
    assert ended.returncode == 1
    said = ended.stdout + ended.stderr
    assert "(envelope_fields.E001) ENVELOPE_FIELDS has no entry 'ROOT_KEY'" in said
    assert "Traceback" not in said
    assert len(said.splitlines()) < 12
