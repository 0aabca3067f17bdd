"""Packages that a project chooses: what is missing is said by a check, and by what needs it."""

import importlib
import sys

import django
import pytest
from django.core.checks import run_checks
from django.db import connection, connections

from envelope_fields import checks
from envelope_fields.checks.settings import (
    check_driver,
    check_tenant_apps,
    check_vendors,
    check_worker,
)
from envelope_fields.databases.postgresql import PostgreSQL
from envelope_fields.jobs.workers import RotationWorker
from tests.rotation import with_worker


class Unwilling(RotationWorker):
    """A worker that cannot be made."""

    def __init__(self):
        raise OSError("amqp://guest:hunter2@127.0.0.1")

    def begin(self, run_id):
        raise NotImplementedError


class TestDriver:
    @pytest.fixture
    def psycopg2(self, monkeypatch):
        monkeypatch.setattr(PostgreSQL, "returns_bytes", lambda self: False)

    def test_psycopg_3(self):
        assert check_driver() == []

    def test_psycopg_2(self, psycopg2, monkeypatch):
        monkeypatch.setattr(connections["other"], "vendor", "postgresql")
        (message,) = check_driver()
        assert message.id == "envelope_fields.E070"
        assert "'other'" in message.msg
        assert ("'default'" in message.msg) == (connection.vendor == "postgresql")

    def test_other_databases(self, psycopg2):
        if connection.vendor == "postgresql":
            pytest.skip("it is one of them")
        assert check_driver() == []

    def test_it_runs_with_the_others(self, psycopg2, monkeypatch):
        monkeypatch.setattr(connections["other"], "vendor", "postgresql")
        found = run_checks(tags=["compatibility"])
        assert "envelope_fields.E070" in [message.id for message in found]


class TestVendor:
    def test_one_with_statements(self):
        assert check_vendors() == []

    @pytest.mark.parametrize("alias", ["default", "other"])
    def test_one_of_others(self, monkeypatch, alias):
        monkeypatch.setattr(connections[alias], "vendor", "cockroachdb")
        found = run_checks(tags=["compatibility"])
        [message] = [each for each in found if each.id == "envelope_fields.E072"]
        assert f"{alias!r} is cockroachdb" in message.msg

    def test_one_that_has_neither_keys_nor_values(self, monkeypatch, settings):
        monkeypatch.setattr(connections["other"], "vendor", "mongodb")
        settings.DATABASE_ROUTERS = [f"{__name__}.DefaultRouter"]
        assert check_vendors() == []


class DefaultRouter:
    def allow_migrate(self, db, app_label, **hints):
        return db == "default"


class TestTenantApps:
    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("TENANT_APPS", ["clinic", "envelope_fields"]),
            ("TENANT_TYPES", {"public": {"APPS": []}, "a": {"APPS": ["envelope_fields.apps.A"]}}),
            ("TENANTS", {"default": {"APPS": ("envelope_fields",), "TENANT_MODEL": "t.Tenant"}}),
        ],
    )
    def test_keys_in_the_schemas_of_tenants(self, settings, name, value):
        setattr(settings, name, value)
        found = run_checks(tags=["compatibility"])
        [message] = [each for each in found if each.id == "envelope_fields.E073"]
        assert message.msg.startswith(name)

    def test_keys_in_the_shared_schema(self, settings):
        settings.SHARED_APPS, settings.TENANT_APPS = ["envelope_fields"], ["envelope_fieldset"]
        settings.TENANTS = {
            "public": {"APPS": ["envelope_fields"]},
            "default": {"APPS": ["clinic"]},
        }
        settings.TENANT_TYPES = ["envelope_fields"]
        assert check_tenant_apps() == []


class TestWorker:
    def test_none(self):
        assert check_worker() == []

    def test_one_of_ours(self, settings):
        with_worker(settings, "process.ProcessWorker", workers=2)
        assert check_worker() == []

    @pytest.mark.parametrize(
        ("path", "options", "says"),
        [
            ("process.NoSuchWorker", {}, "NoSuchWorker"),
            ("process.ProcessWorker", {"threads": 1}, "threads"),
        ],
    )
    def test_one_that_cannot_be_made(self, path, options, says, settings):
        with_worker(settings, path, **options)
        (message,) = check_worker()
        assert message.id == "envelope_fields.E071"
        assert says in message.msg

    def test_what_a_worker_raises_is_not_told(self, settings):
        entry = {"BACKEND": f"{__name__}.Unwilling"}
        settings.ENVELOPE_FIELDS = {**settings.ENVELOPE_FIELDS, "ROTATION_WORKER": entry}
        (message,) = check_worker()
        assert message.msg == "No worker can be given a rotation: OSError"

    @pytest.mark.skipif(django.VERSION >= (6,), reason="it has tasks of its own")
    def test_tasks_of_django(self, settings, monkeypatch):
        monkeypatch.setitem(sys.modules, "django_tasks", None)
        monkeypatch.delitem(sys.modules, "envelope_fields.jobs.workers.django_tasks", raising=False)
        with_worker(settings, "django_tasks.DjangoTasksWorker")
        (message,) = check_worker()
        assert "needs Django 6.0, or the package django-tasks" in message.msg

    def test_celery(self, settings, monkeypatch):
        monkeypatch.setitem(sys.modules, "celery", None)
        monkeypatch.delitem(sys.modules, "envelope_fields.jobs.workers.celery", raising=False)
        with_worker(settings, "celery.CeleryWorker")
        (message,) = check_worker()
        assert "django-envelope-fields[celery]" in message.msg


@pytest.mark.parametrize("package", ["rest_framework", "drf_spectacular"])
def test_the_api_without_its_extra(package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, "envelope_fields.api", raising=False)
    with pytest.raises(ImportError, match=rf"needs {package}, .*django-envelope-fields\[api\]"):
        importlib.import_module("envelope_fields.api")


def test_registering_twice_reports_once(settings):
    checks.register()
    with_worker(settings, "process.NoSuchWorker")
    ids = [message.id for message in run_checks(tags=["compatibility"])]
    assert ids.count("envelope_fields.E071") == 1
