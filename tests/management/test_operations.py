"""The operations as commands: the same functions, with words or JSON."""

import json
import sys
from io import BytesIO, StringIO, TextIOWrapper
from unittest.mock import Mock

import pytest
from django.core.management import CommandError, call_command, get_commands, load_command_class

from envelope_fields import kms
from envelope_fields.lifecycle import create_master_key, rotate_master_key
from envelope_fields.management import EnvelopeCommand, terminal
from envelope_fields.models import AuditEvent, MasterKey
from tests.lifecycle import at, key_in
from tests.lifecycle.conftest import at_once_known  # noqa: F401 - used in every test
from tests.models import TenantNote
from tests.root_keys.backends import WrapsAlone, entry

pytestmark = pytest.mark.django_db(databases="__all__")


@pytest.fixture
def key():
    return create_master_key("tenant")


@pytest.fixture
def run(capsys):
    def run(*arguments, **options):
        call_command(*arguments, **options)
        return capsys.readouterr().out

    return run


def test_states(run, key):
    run("disable_master_key", "tenant")
    key.refresh_from_db()
    assert key.state == "disabled"
    assert json.loads(run("enable_master_key", str(key.pk), json=True))["state"] == "enabled"


def test_one_version(run, key):
    rotate_master_key(key)
    said = json.loads(run("disable_master_key", "tenant", key_version=1, json=True))
    assert [version["state"] for version in said["versions"]] == ["disabled", "enabled"]
    assert [version["current"] for version in said["versions"]] == [False, True]
    with pytest.raises(CommandError, match="no version 9"):
        run("disable_master_key", "tenant", key_version=9)


def test_json_has_no_material(run, key):
    text = run("rotate_master_key", "tenant", json=True) + run("list_master_keys", json=True)
    for version in key.versions.all():
        assert bytes(version.wrapped_material).hex() not in text
        assert bytes(version.version_id).hex() in text
    assert json.loads(run("create_master_key", "new", json=True))["alias"] == "new"


def test_deletion(run, key, monkeypatch):
    said = json.loads(run("schedule_key_deletion", "tenant", days=7, json=True))
    assert (said["state"], bool(said["deletion_at"])) == ("pending_deletion", True)
    assert "not going to be deleted" in run("cancel_key_deletion", "tenant")
    run("schedule_key_deletion", "tenant", days=7)
    at(monkeypatch, days=8)
    done = json.loads(run("destroy_due_keys", json=True))
    assert [row["id"] for row in done["destroyed"]] == [str(key.pk)]
    assert run("destroy_due_keys") == "Nothing was destroyed.\n"


def test_refusals_are_errors(run, key):
    TenantNote.objects.create(tenant="tenant", text="a")
    with pytest.raises(CommandError, match=r"tests\.TenantNote\.text"):
        run("schedule_key_deletion", "tenant")
    with pytest.raises(CommandError, match="no master key x"):
        run("disable_master_key", "x")
    with pytest.raises(CommandError, match=r"Nothing to change"):
        run("update_master_key", "tenant")


def test_what_kms_gave_out(run, key):
    kms.encrypt("tenant", b"a", {})
    with pytest.raises(CommandError, match="confirm='tenant@") as caught:
        run("schedule_key_deletion", "tenant")
    run("schedule_key_deletion", "tenant", confirm=caught.value.__cause__.expected)
    key.refresh_from_db()
    assert key.state == "pending_deletion"


class TestShredding:
    def test_asks(self, run, key, monkeypatch):
        TenantNote.objects.create(tenant="tenant", text="a")
        asked = []
        monkeypatch.setattr("builtins.input", lambda prompt: asked.append(prompt) or "yes")
        with pytest.raises(CommandError, match="not the name"):
            run("shred_master_key", "tenant")
        assert "tenant" in asked[0]
        key.refresh_from_db()
        assert key.state == "enabled"
        monkeypatch.setattr("builtins.input", lambda prompt: "tenant")
        assert "Values made unreadable: 1" in run("shred_master_key", "tenant")
        key.refresh_from_db()
        assert key.state == "destroyed"

    def test_json(self, run, key):
        said = json.loads(run("shred_master_key", "tenant", confirm="tenant", json=True))
        assert (said["name"], said["total"], said["key_id"]) == ("tenant", 0, str(key.pk))


@pytest.mark.django_db(transaction=True, databases="__all__")
def test_versions_that_no_process_has_opened(run, settings, monkeypatch):
    monkeypatch.setattr(WrapsAlone, "may_unwrap", True)
    settings.ENVELOPE_FIELDS = {"ROOT_KEYS": {"default": entry("WrapsAlone")}}
    key = create_master_key("lab")
    monkeypatch.setattr(WrapsAlone, "may_unwrap", False)
    assert "is not opened yet: run open_master_key_versions" in run("rotate_master_key", "lab")
    with pytest.raises(CommandError, match="may not unwrap"):
        run("open_master_key_versions")
    listed = run("list_master_keys")
    assert listed.startswith("Nothing was opened.")
    assert ", 1 of them not opened yet: run" in listed
    monkeypatch.setattr(WrapsAlone, "may_unwrap", True)
    [opened] = json.loads(run("open_master_key_versions", json=True))["opened"]
    assert (opened["alias"], opened["version"]) == ("lab", 2)
    assert key.current_version.number == 2
    assert run("open_master_key_versions") == "Nothing was opened.\n"
    rotated = run("rotate_master_key", "lab")
    assert "is current: values are written under it." in rotated
    key.versions.filter(number=3).update(opened_at=None, wrapping_key_id="lab-wrapping/5")
    keys = {each["alias"]: each for each in json.loads(run("list_master_keys", json=True))}
    listed = keys["lab"]
    third = listed["versions"][2]
    assert (third["opened_at"], third["current"]) == (None, False)
    assert (third["root_key"], third["wrapping_key_id"]) == ("default", "lab-wrapping/5")
    assert listed["root_key"] is None
    opened = run("open_master_key_versions")
    assert opened == "Version 3 of the master key lab is opened.\n"


def test_periods_and_aliases(run, key, monkeypatch):
    run("update_master_key", "tenant", rotation_period="90", description="d", application_use="no")
    key.refresh_from_db()
    assert (key.rotation_period, key.description, key.application_use) == (90, "d", False)
    with pytest.raises(CommandError, match="number of days"):
        run("update_master_key", "tenant", rotation_period="x")
    with pytest.raises(CommandError, match=r"^rotation_period: Ensure this value is greater"):
        run("update_master_key", "tenant", rotation_period="5")
    run("move_alias", "tenant", "renamed")
    assert MasterKey.objects.get(alias="renamed") == key
    at(monkeypatch, days=91)
    assert len(json.loads(run("rotate_due_keys", json=True))["rotated"]) == 1
    run("update_master_key", "renamed", rotation_period="none")
    assert run("rotate_due_keys") == "Nothing was rotated.\n"


def test_an_alias_that_looks_like_an_id(run):
    create_master_key("deadbeef-dead-beef-dead-beefdeadbeef")
    said = json.loads(run("rotate_master_key", "deadbeef-dead-beef-dead-beefdeadbeef", json=True))
    assert len(said["versions"]) == 2


def test_many_keys_are_a_few_queries(run, django_assert_max_num_queries):
    for number in range(10):
        create_master_key(f"tenant/{number}", rotation_period=90)
    rotate_master_key("tenant/9")
    with django_assert_max_num_queries(5):  # keys, versions, and further wraps in a savepoint
        listed = json.loads(run("list_master_keys", json=True))
    assert len(listed) == 11
    assert [version["current"] for version in listed[-1]["versions"]] == [False, True]
    assert listed[-1]["next_rotation"] > listed[-1]["versions"][1]["created_at"]


def test_the_list(run):
    key_in("disabled", "a")
    assert "a  disabled  1 version" in run("list_master_keys")
    assert "default" not in run("list_master_keys", state="disabled")


@pytest.mark.parametrize(
    "arguments",
    [
        ("rewrap", "--re-encrypt", "--key="),
        ("rewrap", "--run="),
        ("rotation_runs", "--cancel="),
        ("rewrap_master_keys", "--to="),
        ("grant_key", "tenant", "--user=u", "--action=decrypt", "--expires="),
        ("grant_key", "tenant", "--user=u", "--action=decrypt", "--context="),
        ("conversions", "--forget="),
    ],
)
def test_empty_arguments_do_not_mean_everything(key, arguments, django_user_model):
    django_user_model.objects.create(username="u")
    before = AuditEvent.objects.count()
    with pytest.raises(CommandError, match=r"is empty\. Give it a value"):
        call_command(*arguments)
    assert AuditEvent.objects.count() == before


def test_renames_of_conversions_have_two_names():
    with pytest.raises(CommandError, match="--rename takes OLD=NEW, not 'tests'"):
        call_command("conversions", "--rename=tests")


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (BrokenPipeError(), "What reads the output has ended"),  # as by `| head`
        (OSError(0, "No space left on device"), "The output cannot be written: No space left"),
    ],
)
def test_output_that_cannot_be_written(key, monkeypatch, error, why):
    """A sentence, and not a traceback; what the command was to do is done."""
    discarded = []
    monkeypatch.setattr(terminal, "_discard_output", lambda: discarded.append(1))
    out = StringIO()
    monkeypatch.setattr(out, "write", Mock(side_effect=error))
    with pytest.raises(CommandError, match=f"{why}.* may be done"):
        call_command("rotate_master_key", key.alias, stdout=out)
    assert discarded
    assert key.versions.count() == 2


def test_output_that_is_closed_keeps_nothing_from_being_done(key, monkeypatch):
    """As by `>&-`."""
    monkeypatch.setattr(sys, "stdout", None)
    call_command("rotate_master_key", key.alias)
    assert key.versions.count() == 2
    call_command("lower_key_cache_bound", "1")
    with pytest.raises(CommandError, match="Standard output is closed"):
        call_command("generate_root_key")


def test_every_command_runs_as_the_others_do():
    """So that each reports errors, a closed output and arguments that are not text alike."""
    names = [name for name, app in get_commands().items() if app == "envelope_fields"]
    commands = {name: load_command_class("envelope_fields", name) for name in names}
    otherwise = {name for name in names if not isinstance(commands[name], EnvelopeCommand)}
    assert otherwise == {"flush", "generate_root_key"}


def test_names_that_a_terminal_cannot_show(key, monkeypatch, django_user_model):
    """As with LANG=C: the grant is made, and said to be."""
    django_user_model.objects.create(username="jörg")
    monkeypatch.setattr(sys, "stdout", TextIOWrapper(BytesIO(), encoding="ascii"))
    command = load_command_class("envelope_fields", "grant_key")
    command._called_from_command_line = True
    call_command(command, key.alias, "--user=jörg", "--action=decrypt")
    assert b"The user 'j\\xf6rg' may decrypt" in sys.stdout.buffer.getvalue()


def test_a_version_of_a_key_is_not_the_version_of_django(capsys):
    command = load_command_class("envelope_fields", "disable_master_key")
    with pytest.raises(SystemExit) as ended:
        command.run_from_argv(["manage.py", "disable_master_key", "default", "--version", "1"])
    assert ended.value.code == 2
    assert "--key-version N" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        command.run_from_argv(["manage.py", "disable_master_key", "--version"])
    assert ended.value.code == 0


def test_a_key_that_is_not_there():
    with pytest.raises(CommandError, match="`list_master_keys` lists those that there are"):
        call_command("disable_master_key", "Defualt")
