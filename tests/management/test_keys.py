import base64
import json
import os
import stat
import subprocess
import sys
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import override_settings

from envelope_fields import keyring
from envelope_fields.lifecycle import create_master_key, disable, rotate_master_key
from envelope_fields.models import MasterKey, MasterKeyVersion
from envelope_fields.root_keys.local import LocalRootKey
from envelope_fields.testing import stored
from tests.models import Note
from tests.root_keys.backends import Service

ALL_DATABASES = pytest.mark.django_db(databases="__all__")


def run(*arguments, **options):
    """Call a command; return what it wrote to standard output and to standard error."""
    out, err = StringIO(), StringIO()
    call_command(*arguments, stdout=out, stderr=err, **options)
    return out.getvalue(), err.getvalue()


def broken_root_key(**root_key_options):
    return override_settings(
        ENVELOPE_FIELDS={
            "ROOT_KEYS": {
                "default": {
                    "BACKEND": "envelope_fields.root_keys.local.LocalRootKey",
                    "OPTIONS": root_key_options,
                }
            }
        }
    )


class TestGenerateRootKey:
    def test_standard_output_has_the_key_alone(self):
        out, err = run("generate_root_key")
        assert len(base64.b64decode(out.strip(), validate=True)) == 32
        assert out.count("\n") == 1
        assert "ENVELOPE_ROOT_KEY" in err
        assert out.strip() not in err

    def test_each_is_new(self):
        assert run("generate_root_key") != run("generate_root_key")

    def test_quiet_means_no_guidance(self):
        assert run("generate_root_key", verbosity=0)[1] == ""

    def test_a_file_is_private_and_a_root_key(self, tmp_path):
        path = tmp_path / "root.key"
        umask = os.umask(0)
        try:
            out, err = run("generate_root_key", file=path)
        finally:
            os.umask(umask)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        LocalRootKey(file=path).check()
        assert out == ""
        assert str(path) in err
        assert path.read_text().strip() not in err

    def test_what_exists_is_not_overwritten(self, tmp_path):
        path = tmp_path / "root.key"
        path.write_text("precious")
        with pytest.raises(CommandError, match="not overwritten"):
            run("generate_root_key", "--file", str(path))
        assert path.read_text() == "precious"

    def test_a_link_is_not_followed(self, tmp_path):
        (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(CommandError, match="not overwritten"):
            run("generate_root_key", file=tmp_path / "link")
        assert not (tmp_path / "elsewhere").exists()

    def test_a_missing_directory_is_named(self, tmp_path):
        with pytest.raises(CommandError, match=r"does not exist. Make it first: mkdir -p .*absent"):
            run("generate_root_key", file=tmp_path / "absent" / "root.key")

    def test_a_file_for_a_directory_is_an_error(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(CommandError, match="Not a directory"):
            run("generate_root_key", file=tmp_path / "file" / "root.key")

    def test_a_full_disk_leaves_nothing(self, tmp_path, monkeypatch):
        def full(descriptor):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("os.fsync", full)
        with pytest.raises(CommandError, match="No space left"):
            run("generate_root_key", file=tmp_path / "root.key")
        assert list(tmp_path.iterdir()) == []

    def test_before_anything_is_configured(self, tmp_path):
        """No root key, no tables, and a system check that fails."""
        settings = tmp_path / "bare_settings.py"
        settings.write_text(
            "INSTALLED_APPS = ['envelope_fields', 'failing']\n"
            "DATABASES = {}\n"
            "SECRET_KEY = 'none'\n"
            "ENVELOPE_FIELDS = {'ROOT_KEYS': {'default': {'BACKEND': "
            "'envelope_fields.root_keys.local.LocalRootKey', 'OPTIONS': {'env': 'UNSET'}}}}\n"
        )
        (tmp_path / "failing.py").write_text(
            "from django.core import checks\n"
            "checks.register(lambda **_: [checks.Error('always')])\n"
        )
        done = subprocess.run(
            [sys.executable, "-m", "django", "generate_root_key"],
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "bare_settings",
                "PYTHONPATH": os.pathsep.join([str(tmp_path), os.getcwd()]),
            },
            capture_output=True,
            text=True,
            check=True,
        )
        assert len(base64.b64decode(done.stdout)) == 32


@pytest.mark.django_db
class TestCreateMasterKey:
    def test_it_is_made(self):
        out, _ = run("create_master_key", "lab/blood", description="Blood samples")
        key = MasterKey.objects.get(alias="lab/blood")
        assert key.description == "Blood samples"
        assert "'lab/blood'" in out
        assert bytes(key.current_version.version_id).hex() in out

    def test_a_taken_alias(self):
        with pytest.raises(CommandError, match="Another master key has the alias 'default'") as e:
            run("create_master_key", "default")
        assert e.value.returncode == 1

    @pytest.mark.parametrize("alias", ["", "-", "with space", "é", "a" * 201])
    def test_what_is_no_alias(self, alias):
        before = MasterKey.objects.count()
        with pytest.raises(CommandError):
            call_command("create_master_key", "--", alias)
        assert MasterKey.objects.count() == before

    def test_no_root_key(self, monkeypatch):
        monkeypatch.delenv("UNSET", raising=False)
        with (
            broken_root_key(env="UNSET"),
            pytest.raises(CommandError, match=r"UNSET is not set\. .*generate_root_key"),
        ):
            run("create_master_key", "lab")
        assert not MasterKey.objects.filter(alias="lab").exists()

    def test_a_root_key_that_is_none_is_not_shown(self):
        with broken_root_key(key="hunter2"), pytest.raises(CommandError) as error:
            run("create_master_key", "lab")
        assert "hunter2" not in str(error.value)


@pytest.mark.django_db
class TestRotateMasterKey:
    def test_it_is_rotated(self):
        out, _ = run("rotate_master_key", "default")
        version = MasterKey.objects.get(alias="default").current_version
        assert version.number == 2
        assert "Version 2" in out
        assert bytes(version.version_id).hex() in out

    def test_no_such_key(self):
        with pytest.raises(CommandError, match="no master key absent"):
            run("rotate_master_key", "absent")

    def test_a_disabled_key(self):
        disable("default")
        with pytest.raises(CommandError, match="it is disabled"):
            run("rotate_master_key", "default")

    def test_before_migrate(self, monkeypatch):
        monkeypatch.setattr("envelope_fields.models.MasterKey._meta.db_table", "not_there")
        with pytest.raises(CommandError, match=r"manage\.py migrate"):
            run("rotate_master_key", "default")


@ALL_DATABASES
class TestCensus:
    def test_nothing(self):
        out, _ = run("census")
        assert "No encrypted values are stored." in out
        assert "enabled, current" in out, "the default key is there all the same"

    def test_the_table(self):
        ids = [MasterKey.objects.get(alias="default").current_version.version_id]
        for text in "abc":
            Note.objects.create(text=text, data=None)
        ids.append(rotate_master_key("default").version_id)
        Note.objects.create(text="d", data=None)
        create_master_key("idle")
        first, second = (bytes(version_id).hex() for version_id in ids)

        lines = run("census")[0].splitlines()

        assert [line.split() for line in lines[1:3]] == [
            ["default", "tests.Note", "text", "default", "1", first, "3"],
            ["default", "tests.Note", "text", "default", "2", second, "1"],
        ]
        assert len({len(line) for line in lines[:3]}) == 1, "aligned"
        assert [line.split() for line in lines[5:7]] == [
            ["default", "1", first, "enabled", "3"],
            ["default", "2", second, "enabled,", "current", "1"],
        ]
        assert lines[7].split()[0] == "idle"
        assert lines[7].split()[-1] == "0"

    def test_what_cannot_be_read_is_explained(self):
        unknown = Note.objects.create(text="a", data=None)
        plain = Note.objects.create(text="b", data=None)
        envelope = stored(unknown, "text")
        table = connection.ops.quote_name(Note._meta.db_table)
        for note, value in ((unknown, b"\x01" + b"\x07" * 8 + envelope[9:]), (plain, b"hello")):
            with connection.cursor() as cursor:
                cursor.execute(f"UPDATE {table} SET text = %s WHERE id = %s", [value, note.pk])

        out, _ = run("census")

        assert "unknown          0707070707070707" in out
        assert "rows are missing: 1." in out
        assert "not envelopes: 1." in out
        assert "hello" not in out

    def test_json(self):
        Note.objects.create(text="a", data=None)
        report = json.loads(run("census", "--json")[0])
        version = MasterKey.objects.get(alias="default").current_version
        named = {
            "version_id": bytes(version.version_id).hex(),
            "key": "default",
            "key_id": str(version.master_key_id),
            "number": 1,
            "state": "enabled",
            "current": True,
            "values": 1,
        }
        where = {"database": "default", "schema": None, "model": "tests.Note", "field": "text"}
        assert report == {
            "rows": [{**where, **named, "history": 0, "is_index": False, "format": ""}],
            "totals": [
                {**named, "root_key": "default", "wrapping_key_id": "", "further_wraps": []}
            ],
            "not_counted": [],
        }

    def test_what_root_keys_wrapped_with(self):
        """Once any of them says so, as those do whose keys have versions of their own."""
        keys = [create_master_key(alias) for alias in ("first", "second")]
        assert "wrapped with" not in run("census")[0]
        MasterKeyVersion.objects.filter(master_key__in=keys).update(wrapping_key_id="lab/5")
        *_, headings, without, found = run("census")[0].splitlines()
        assert headings.split("  ")[0] == "root key"
        assert (without.split(), found.split()) == (["default", "1"], ["default", "lab/5", "2"])
        totals = json.loads(run("census", "--json")[0])["totals"]
        assert [each["wrapping_key_id"] for each in totals] == ["", "lab/5", "lab/5"]

    def test_further_root_keys(self, settings):
        roots = settings.ENVELOPE_FIELDS["ROOT_KEYS"]
        further = Service.settings("one", "two", one=["two"])
        settings.ENVELOPE_FIELDS = {"ROOT_KEYS": {**roots, **further}}
        create_master_key("lab", root_key="one")
        lines = run("census")[0].splitlines()[-3:]
        assert [line.split() for line in lines] == [
            ["default", "1"], ["one", "one:v1", "1"], ["two", "two:v1", "1"],
        ]  # fmt: skip
        *_, total = json.loads(run("census", "--json")[0])["totals"]
        assert total["further_wraps"] == [{"root_key": "two", "wrapping_key_id": "two:v1"}]

    def test_one_database(self):
        Note.objects.using("other").create(text="a", data=None)
        assert "No encrypted values" in run("census", database="default")[0]
        assert "tests.Note" in run("census", "--database", "other")[0]
        with pytest.raises(CommandError, match="invalid choice"):
            run("census", "--database", "absent")

    def test_one_key(self):
        Note.objects.create(text="a", data=None)
        create_master_key("idle")
        out, _ = run("census", key="idle")
        assert "No encrypted values" in out
        assert "default" not in out
        assert run("census", key=str(MasterKey.objects.get(alias="idle").pk))[0] == out
        with pytest.raises(CommandError, match="no master key absent"):
            run("census", "--key", "absent")

    def test_no_root_key_is_needed(self):
        Note.objects.create(text="a", data=None)
        keyring.evict()
        with broken_root_key(env="UNSET"):
            assert "tests.Note" in run("census")[0]


def test_an_error_ends_the_process_with_1_and_no_traceback():
    done = subprocess.run(
        [sys.executable, "-m", "django", "create_master_key", "not an alias"],
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("CommandError: alias: An alias has letters")
    assert "Traceback" not in done.stderr


@pytest.mark.django_db(databases="__all__")
@pytest.mark.parametrize("text", ["Schl\udcfcssel", "a\0b"])
@pytest.mark.parametrize(
    "line",
    [
        ("create_master_key", "tenant", "--description", "{}"),
        ("rotate_master_key", "{}"),
        ("list_grants", "--key", "{}"),
        ("census", "--key", "{}"),
        ("rewrap", "--field", "{}"),
        ("grant_key", "default", "--action", "decrypt", "--user", "{}"),
    ],
    ids=lambda line: line[0],
)
def test_bytes_of_another_encoding_are_told(line, text):
    """As a terminal that is not set to UTF-8 sends them."""
    with pytest.raises(CommandError, match="is not text in UTF-8"):
        run(*(part.format(text) for part in line))
