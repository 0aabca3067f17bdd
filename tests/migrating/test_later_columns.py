"""Columns that a later release adds to our tables: its code runs our first migrations, too."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.db import DatabaseError, connections, transaction

from envelope_fields import audit, migrations as ours
from envelope_fields.audit import triggers
from envelope_fields.lifecycle import create_master_key
from envelope_fields.models import AuditEvent, MasterKey, MasterKeyVersion

OURS = Path(ours.__path__[0])
LAST = max(path.stem for path in OURS.glob("0*.py"))
MODELS = ["MasterKey", "MasterKeyVersion", "KeyGrant", "KeyUse", "AuditEvent", "AuditHead"]

LATER = f"""
from django.db import migrations, models

class Migration(migrations.Migration):
    dependencies = [("envelope_fields", {LAST!r})]
    operations = [
        migrations.AddField(name, "later", models.CharField(max_length=9, default="as ever"))
        for name in {MODELS!r}
    ] + [
        migrations.AlterField("AuditEvent", "address", models.CharField(max_length=99, blank=True))
    ]
"""

PROGRAM = """
import sys, django
from django.conf import settings
from django.db import models
from django.db.models.signals import class_prepared

database, directory, wanted = sys.argv[1:]

def add(sender, **kwargs):
    if sender.__module__.startswith("envelope_fields.") and sender.__name__ in {models!r}:
        sender.add_to_class("later", models.CharField(max_length=9, default="as ever"))

sys.path.insert(0, directory)
settings.MIGRATION_MODULES = {{"envelope_fields": "later_migrations"}}
settings.DATABASES["default"]["NAME"] = database
class_prepared.connect(add)
django.setup()

from django.core.management import call_command
from envelope_fields import audit
from envelope_fields.lifecycle import create_master_key
from envelope_fields.models import AuditEvent, MasterKey

call_command("migrate", "envelope_fields", verbosity=0, skip_checks=False)
assert MasterKey.objects.get(alias="default").managed_by == "application"
create_master_key("made-later")
assert set(AuditEvent.objects.values_list("later", flat=True)) == {{"as ever"}}
found = audit.verify()
assert found.intact and str(found.events) == wanted, found
"""


@pytest.fixture
def migrate_later(project, tmp_path):
    package = tmp_path / "later_migrations"
    package.mkdir()
    for path in OURS.glob("*.py"):
        (package / path.name).write_text(path.read_text())
    (package / "9999_later.py").write_text(LATER)

    def migrate(events):
        name = project.connection.settings_dict["NAME"]
        project.connection.close()
        program = PROGRAM.format(models=MODELS)
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", program, name, str(tmp_path), str(events)],
            env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "could not be made" not in done.stderr

    return migrate


def refuses(statement):
    kept = pytest.raises(DatabaseError, match="append-only")
    with connections["scratch"].cursor() as cursor, kept, transaction.atomic("scratch"):
        cursor.execute(statement)


def assert_that_events_are_kept():
    assert triggers.are_there(connections["scratch"])
    refuses("UPDATE envelope_fields_auditevent SET later = 'changed'")
    refuses("UPDATE envelope_fields_auditevent SET actor_name = 'Mallory'")


def test_from_zero(migrate_later):
    migrate_later(events=1)
    assert_that_events_are_kept()


def test_from_today(project, migrate_later):
    project.migrate("envelope_fields")
    create_master_key("made-before")
    assert audit.verify().events == 1
    key, version = MasterKey.objects.using("scratch"), MasterKeyVersion.objects.using("scratch")
    before = key.get(alias="default").pk, bytes(version.get(master_key__alias="default").version_id)
    migrate_later(events=2)
    assert before == (
        key.get(alias="default").pk,
        bytes(version.get(master_key__alias="default").version_id),
    )
    assert_that_events_are_kept()


def test_what_migrations_import():
    """A field class, and how to make a key, which takes the models of any state."""
    imported = set()
    for path in OURS.glob("0*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                imported |= {f"{node.module}.{each.name}" for each in node.names}
            elif isinstance(node, ast.Import):
                imported |= {each.name for each in node.names}
    assert {name for name in imported if name.startswith("envelope_fields")} == {
        "envelope_fields.lifecycle.on_demand.create_default_key",
        "envelope_fields.models",
    }


class TestTriggers:
    """`migrate` makes them where they are missing, and nobody has to go back for that."""

    @pytest.fixture
    def migrated(self, project):
        project.migrate("envelope_fields")
        create_master_key("lab")
        triggers.drop(project.connection)
        assert not triggers.are_there(project.connection)
        return project

    def test_they_are_made_again(self, migrated):
        migrated.migrate()
        refuses("UPDATE envelope_fields_auditevent SET actor_name = 'Mallory'")
        assert AuditEvent.objects.using("scratch").count() == 1

    def test_not_by_a_role_that_may_not(self, migrated, monkeypatch, caplog):
        def refuse(*_):
            raise DatabaseError("permission denied")

        monkeypatch.setattr(triggers, "create", refuse)
        migrated.migrate()
        assert "envelope_fields.W060 says what to do" in caplog.text

    def test_those_that_are_there_stay(self, migrated, monkeypatch):
        migrated.migrate()
        monkeypatch.setattr(triggers, "create", None)
        migrated.migrate()
        assert triggers.are_there(migrated.connection)

    def test_back_to_where_there_are_none(self, migrated):
        migrated.migrate("envelope_fields", "0002")
        assert not triggers.are_there(migrated.connection)
        migrated.migrate()
        assert triggers.are_there(migrated.connection)
