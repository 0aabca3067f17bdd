"""The ways that we print for key tables, each to its end, with rows in every table."""

import inspect
import re
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import connections
from django.test import override_settings

from envelope_fields import audit, keyring, rotation
from envelope_fields.audit import triggers
from envelope_fields.fields import EncryptedTextField
from envelope_fields.fixtures import keys as key_fixtures
from envelope_fields.lifecycle import create_master_key
from envelope_fields.models import MasterKey
from tests.migrating.columns import patient
from tests.migrating.conftest import keys_in
from tests.migrating.everything import content, fill, ours
from tests.migrating.project import scratch_database

PAGE = Path(__file__).parents[2] / "docs/how-to/several-databases.md"
LABEL = "zzz_clinic"


class KeysRouter:
    """As the page has it."""

    def _database(self, app_label):
        return "scratch_keys" if app_label == "envelope_fields" else None

    def db_for_read(self, model, **hints):
        return self._database(model._meta.app_label)

    def db_for_write(self, model, **hints):
        return self._database(model._meta.app_label)

    def allow_migrate(self, db, app_label, **hints):
        return (db == "scratch_keys") == (app_label == "envelope_fields")


@pytest.fixture
def filled(project):
    project.add(LABEL, patient(notes=EncryptedTextField()))
    project.migrate()
    fill("scratch")
    project.rows(LABEL, "Patient").create(notes="written before")
    return project


@pytest.fixture
def keys(tmp_path, filled):
    with scratch_database("scratch_keys", tmp_path) as alias:
        yield alias


def migrate(using, *labels):
    call_command("migrate", *labels, database=using, verbosity=0)


def notes(project):
    return set(project.rows(LABEL, "Patient").values_list("notes", flat=True))


def move(using, keys, tmp_path):
    """The first part of the page: the rows are copied while the setting is what it was."""
    fixture = str(tmp_path / "keys.json")
    migrate(keys, "envelope_fields")
    call_command("dumpdata", "envelope_fields", database=using, output=fixture, verbosity=0)
    call_command("loaddata", fixture, database=keys, verbosity=0)


def test_moving_keys_to_a_database_of_their_own(filled, keys, tmp_path):
    before = content("scratch")
    move("scratch", keys, tmp_path)
    with keys_in(keys), override_settings(DATABASE_ROUTERS=[f"{__name__}.KeysRouter"]):
        migrate(keys)
        migrate("scratch")
        assert content(keys) == before
        found = audit.verify()
        assert found.intact
        assert found.events == 5
        assert triggers.are_there(connections[keys])
        assert notes(filled) == {"written before"}
        drop_old_tables(filled.connection)
        migrate("scratch")
        assert "envelope_fields_masterkey" not in tables("scratch")
        keyring.evict()
        filled.rows(LABEL, "Patient").create(notes="written after")
        assert notes(filled) == {"written before", "written after"}
        assert {row.version.key_alias for row in rotation.census()} <= {"default"}
        create_master_key("made-after")
        assert audit.verify().events == 6


def tables(using):
    return connections[using].introspection.table_names()


def drop_old_tables(connection):
    (statements,) = re.findall(r"^```sql\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    with connection.cursor() as cursor:
        for statement in statements.split(";")[:-1]:
            cursor.execute(statement)


def test_the_page_has_these_steps():
    steps = [
        "migrate envelope_fields --database keys --settings mysite.moving",
        "dumpdata envelope_fields --settings mysite.moving --output keys.json",
        "loaddata keys.json --database keys --settings mysite.moving",
        "migrate --database keys",
        "manage.py migrate\n",
        "manage.py verify_audit_trail",
        "manage.py census",
        "DROP TABLE",
    ]
    text = PAGE.read_text().partition("## Move keys")[2]
    places = [text.index(step) for step in steps]
    assert places == sorted(places)


def test_the_page_drops_every_table():
    dropped = re.findall(r"^DROP TABLE (\w+);$", PAGE.read_text(), re.MULTILINE)
    assert sorted(dropped) == sorted(model._meta.db_table for model in ours())


def test_restoring_a_fixture_beside_a_default_key(filled, keys, tmp_path):
    """The drill of `back-up-keys.md`: the database was migrated, and has a default key."""
    before = content("scratch")
    fixture = str(tmp_path / "backup.json")
    call_command("dumpdata", "envelope_fields", database="scratch", output=fixture, verbosity=0)
    with keys_in(keys):
        migrate(keys)
        there = MasterKey.objects.using(keys).get()
        call_command("loaddata", fixture, database=keys, verbosity=0)
        restored = content(keys)
        assert audit.verify().intact
    of_the_other = {f"default/{there.pk}", there.pk}
    for model, rows in before.items():
        others = [row for row in restored[model] if not of_the_other.isdisjoint(map(hashable, row))]
        assert [row for row in restored[model] if row not in others] == rows
        assert len(others) == (1 if model in ("MasterKey", "MasterKeyVersion") else 0)


def hashable(value):
    return repr(value) if isinstance(value, list | dict) else value


def test_loading_a_fixture_twice_changes_nothing(filled, tmp_path):
    before = content("scratch")
    fixture = str(tmp_path / "backup.json")
    call_command("dumpdata", "envelope_fields", database="scratch", output=fixture, verbosity=0)
    call_command("loaddata", fixture, database="scratch", verbosity=0)
    assert content("scratch") == before


EXCLUDED = {
    "OtherAuditTrail": ["AuditEvent", "AuditHead", "AuditKey"],
    "OtherRotations": [
        *("RotationRun", "RotationKey", "RotationColumn", "RotationRange", "RotationFailure")
    ],
    "VersionNotInFixture": ["KeyUse"],
    "OtherIndexes": ["BlindIndex", "BlindIndexKey"],
}


def test_what_refusals_of_fixtures_say_to_leave_out(filled, keys, tmp_path):
    """Into a database that has another trail, other rotations and other uses."""
    before = content("scratch")
    fixture = str(tmp_path / "keys.json")
    excluded = [name for names in EXCLUDED.values() for name in names]
    options = [option for name in excluded for option in ("--exclude", f"envelope_fields.{name}")]
    call_command(
        "dumpdata", "envelope_fields", *options, database="scratch", output=fixture, verbosity=0
    )
    with keys_in(keys):
        migrate(keys)
        create_master_key("theirs")
        there = content(keys)
        call_command("loaddata", fixture, database=keys, verbosity=0)
        after = content(keys)
        assert audit.verify().intact
    brought = [row for row in after.pop("AuditEvent") if row not in there["AuditEvent"]]
    assert {action for row in brought for action in row if action == "load_fixture"}
    for model in {*excluded} - {"AuditEvent", "AuditHead"}:  # what was brought is recorded
        assert after[model] == there[model]
    for model in before.keys() - set(excluded):
        assert all(row in after[model] for row in before[model]), model


def test_the_refusals_name_them():
    source = Path(key_fixtures.__file__).read_text()
    of_itself = inspect.getsource(key_fixtures.OtherIndexes)
    for error, names in EXCLUDED.items():
        raised = re.findall(rf"raise {error}\((.*?)\n        \)", source, re.DOTALL)
        (said,) = [of_itself] if error == "OtherIndexes" else raised
        assert all(f"envelope_fields.{name}" in said for name in names)


def test_making_triggers_again(filled):
    """The hint of envelope_fields.W060."""
    before = content("scratch")
    triggers.drop(filled.connection)
    filled.migrate()
    assert triggers.are_there(filled.connection)
    assert content("scratch") == before
