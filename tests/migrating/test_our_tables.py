"""Migrations of this package itself: the default key, made once and where keys live."""

import os
import subprocess
import sys
import threading

import pytest
from django.apps import apps
from django.core.management import call_command
from django.core.management.sql import emit_post_migrate_signal
from django.db import connections, migrations
from django.test import override_settings

from envelope_fields import keyring
from envelope_fields.fields import EncryptedTextField
from envelope_fields.lifecycle import create_master_key, rotate_master_key
from envelope_fields.lifecycle.on_demand import create_default_key
from envelope_fields.models import MasterKey, MasterKeyVersion
from tests.migrating.columns import patient
from tests.migrating.conftest import keys_in
from tests.migrating.project import scratch_database
from tests.models import Note


def keys(alias):
    return list(MasterKey.objects.using(alias).values_list("alias", "versions__number"))


def test_back_and_forward(project):
    """Reversing 0002 keeps the key: values may lie under it."""
    project.add("zzz_clinic", patient(notes=EncryptedTextField()))
    project.migrate()
    project.rows("zzz_clinic", "Patient").create(notes="a")
    key = MasterKey.objects.using("scratch").get()
    project.migrate("envelope_fields", "0001")
    project.migrate()
    assert MasterKey.objects.using("scratch").get() == key
    assert project.rows("zzz_clinic", "Patient").get().notes == "a"


def test_to_zero_and_forward(project):
    project.migrate()
    (first,) = MasterKeyVersion.objects.using("scratch").all()
    project.migrate("envelope_fields", "zero")
    project.migrate()
    (second,) = MasterKeyVersion.objects.using("scratch").all()
    assert bytes(second.version_id) != bytes(first.version_id)
    assert keyring.values.wrapping_key("default", "scratch").header[1:] == bytes(second.version_id)


def test_migrating_again_changes_nothing(project):
    project.migrate()
    rotate_master_key("default")
    project.migrate()
    assert keys("scratch") == [("default", 1), ("default", 2)]


@pytest.mark.django_db(transaction=True, databases=["default", "other"])
class TestFlush:
    def test_the_default_key_is_made_anew(self):
        before = MasterKey.objects.get()
        Note.objects.create(text="a")
        call_command("flush", interactive=False, verbosity=0)
        after = MasterKey.objects.get()
        assert after != before
        assert after.alias == "default"
        Note.objects.create(text="b")
        assert Note.objects.get().text == "b"

    def test_of_another_database(self, monkeypatch):
        evictions = []
        monkeypatch.setattr(keyring, "evict", lambda: evictions.append(1))
        before = MasterKey.objects.get()
        call_command("flush", database="other", interactive=False, verbosity=0)
        assert keys("other") == []
        assert MasterKey.objects.get() == before
        assert not evictions


class TestAnotherDatabaseForKeys:
    @pytest.fixture
    def keys_apart(self, tmp_path, project):
        with scratch_database("scratch_keys", tmp_path) as alias, keys_in(alias):
            yield alias

    def test_they_are_made_there(self, project, keys_apart):
        project.add("zzz_clinic", patient(notes=EncryptedTextField()))
        project.migrate()
        assert keys("scratch") == []
        call_command("migrate", "envelope_fields", database=keys_apart, verbosity=0)
        assert keys(keys_apart) == [("default", 1)]
        project.rows("zzz_clinic", "Patient").create(notes="a")
        assert project.rows("zzz_clinic", "Patient").get().notes == "a"
        assert keys("scratch") == []

    @pytest.mark.parametrize("router", ["NoKeys", "NoModelsOfKeys"])
    def test_not_where_the_router_forbids(self, project, keys_apart, router):
        with override_settings(DATABASE_ROUTERS=[f"{__name__}.{router}"]):
            for target in ([], ["zero"]):
                call_command(
                    "migrate", "envelope_fields", *target, database=keys_apart, verbosity=0
                )
                tables = connections[keys_apart].introspection.table_names()
                assert tables == ["django_migrations"]


class NoKeys:
    def allow_migrate(self, db, app_label, **hints):
        return app_label != "envelope_fields"


class NoModelsOfKeys:
    """Decides by the model alone, and has no opinion on a migration without one."""

    def allow_migrate(self, db, app_label, model_name=None, **hints):
        return app_label != "envelope_fields" if model_name else None


def test_a_registry_without_our_models(project):
    """`post_migrate` comes with the state of a migration, where our app may be missing."""
    project.migrate()
    empty = migrations.state.ProjectState().apps
    emit_post_migrate_signal(0, False, "scratch", apps=empty, plan=[])


def test_rows_that_name_no_creator(project):
    """The statements of another process may leave these columns out; the database fills them."""
    project.migrate()
    ours = create_master_key("ours")
    names = [
        field.column
        for field in MasterKey._meta.concrete_fields
        if field.attname not in ("id", "alias", "creator_type", "creator_id", "serves_fields")
    ]
    columns = ", ".join(connections["scratch"].ops.quote_name(name) for name in names)
    table = MasterKey._meta.db_table
    with connections["scratch"].cursor() as cursor:
        cursor.execute(f"SELECT id FROM {table} WHERE alias = 'ours'")
        ((ours_id,),) = cursor.fetchall()
        cursor.execute(
            f"INSERT INTO {table} (id, alias, {columns}) "
            f"SELECT %s, 'older', {columns} FROM {table} WHERE id = %s",
            ["0" * 32, ours_id],
        )
    older = MasterKey.objects.using("scratch").get(alias="older")
    assert (older.creator_type, older.serves_fields) == ("application", True)
    assert older.state == ours.state


class TestTwoAtOnce:
    def test_two_threads_that_repair(self, project):
        project.migrate("envelope_fields")
        MasterKeyVersion.objects.using("scratch").all()._raw_delete("scratch")
        MasterKey.objects.using("scratch").all()._raw_delete("scratch")
        barrier, errors = threading.Barrier(4), []

        def repair():
            try:
                barrier.wait()
                create_default_key(apps, "scratch")
            except Exception as error:
                errors.append(error)
            finally:
                connections["scratch"].close()

        threads = [threading.Thread(target=repair) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert keys("scratch") == [("default", 1)]

    def test_two_processes_that_migrate(self, project, tmp_path):
        project.migrate("envelope_fields", "0001")
        MasterKeyVersion.objects.using("scratch").all()._raw_delete("scratch")
        MasterKey.objects.using("scratch").all()._raw_delete("scratch")
        name = project.connection.settings_dict["NAME"]
        program = f"""
import sys, django
from django.conf import settings
django.setup()
from django.core.management import call_command
from django.db import connections
connections["default"].settings_dict["NAME"] = {name!r}
sys.stdin.readline()
call_command("migrate", "envelope_fields", "0002", verbosity=0)
"""
        environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", program],
                stdin=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=environment,
            )
            for _ in range(3)
        ]
        for process in processes:
            process.stdin.write("\n")
            process.stdin.flush()
        for process in processes:
            _, errors = process.communicate(timeout=60)
            assert process.returncode == 0, errors
        assert keys("scratch") == [("default", 1)]
