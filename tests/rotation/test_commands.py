"""`rewrap`, `rotation_runs` and `verify_envelopes`, for people and for scripts."""

import json
import os
from datetime import UTC, datetime
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from envelope_fields import keyring, rotation
from envelope_fields.exceptions import RootKeyUnavailable
from envelope_fields.jobs import ranges
from envelope_fields.jobs.work import begun, move_range
from envelope_fields.lifecycle import create_master_key, disable, rotate_master_key
from envelope_fields.management.commands import rewrap
from envelope_fields.models import AuditEvent, MasterKey, RotationRun
from envelope_fields.rotation import Limits
from tests.management import printed
from tests.models import LabNote, Note, keyed
from tests.rotation import left, put
from tests.stored import stored

pytestmark = [pytest.mark.any_database, pytest.mark.django_db(databases="__all__")]


@pytest.fixture
def notes():
    found = Note.objects.bulk_create([Note(text=f"{n}", data=[n]) for n in range(5)])
    rotate_master_key("default")
    return found


class TestRewrap:
    def test_everything(self, notes):
        create_master_key("lab")
        LabNote.objects.create(text="x")
        rotate_master_key("lab")
        text = printed("rewrap")
        assert "default: 10 values rewrapped, 0 failed" in text
        assert "lab: 1 value rewrapped, 0 failed" in text
        assert left("default") == left("lab") == 0
        assert printed("rewrap") == "Every value is under the current version of its key.\n"

    def test_a_bar_where_somebody_looks(self, notes, monkeypatch, capsys):
        """It asks how far the run is now and then, not after each batch."""
        asked = []
        monkeypatch.setattr(
            "envelope_fields.management.terminal.progress",
            lambda run: asked.append(run) or rotation.progress(run),
        )
        monkeypatch.setattr("sys.stderr.isatty", lambda: True)
        printed("rewrap", batch_size=1)
        assert "default: 100%" in capsys.readouterr().err
        assert 1 < len(asked) < 10, "ten batches"

    def test_no_bar_elsewhere(self, notes, capsys):
        printed("rewrap")
        assert capsys.readouterr().err == ""

    def test_one_key(self, notes):
        create_master_key("lab")
        LabNote.objects.create(text="x")
        rotate_master_key("lab")
        printed("rewrap", key="lab")
        assert (left("default"), left("lab")) == (10, 0)
        key = MasterKey.objects.get(alias="default")
        printed("rewrap", key=str(key.pk))
        assert left("default") == 0

    def test_one_field(self, notes):
        printed("rewrap", field=["tests.Note.text"])
        assert left("default") == 5

    def test_an_unknown_field(self, notes):
        with pytest.raises(
            CommandError, match=r"tests\.note\.txt.*The encrypted fields are:.*tests\.Note\.text"
        ):
            printed("rewrap", field=["tests.Note.txt"])

    def test_an_unknown_key(self):
        with pytest.raises(CommandError, match="no master key nope"):
            printed("rewrap", key="nope")

    @pytest.mark.parametrize(
        "options",
        [
            {"workers": 0},
            {"workers": 4 * os.cpu_count() + 1},
            {"batch_size": 0},
            {"max_rate": 0},
            {"sleep": -1},
            {"batch_size": 5000},
            {"nice_ratio": -1},
        ],
    )
    def test_numbers_that_cannot_be_meant(self, notes, options):
        with pytest.raises(CommandError):
            printed("rewrap", **options)
        assert left("default") == 10

    def test_dry_run(self, notes):
        before = stored(notes[0], "text")
        text = printed("rewrap", dry_run=True)
        assert "default: 5 values of tests.Note.text in 'default', about a second" in text
        assert "Nothing was changed." in text
        assert stored(notes[0], "text") == before
        assert not RotationRun.objects.exists()
        (first, _) = json.loads(printed("rewrap", dry_run=True, json=True))
        assert (first["field"], first["values"]) == ("tests.Note.text", 5)
        assert first["seconds"] > 0

    def test_dry_run_with_nothing_to_do(self):
        assert "Nothing to do" in printed("rewrap", dry_run=True)

    def test_json(self, notes):
        (run,) = json.loads(printed("rewrap", json=True))
        assert (run["state"], run["moved"], run["failed"], run["failures"]) == (
            "completed", 10, 0, [],
        )  # fmt: skip
        assert run["key"]["alias"] == "default"
        assert {each["field"]: each["moved"] for each in run["progress"]} == {
            "tests.Note.text": 5,
            "tests.Note.data": 5,
        }

    def test_a_bad_row_is_named_and_the_exit_code_says_so(self, notes):
        value = bytearray(stored(notes[1], "text"))
        value[50] ^= 1
        put(notes[1], "text", bytes(value))
        with pytest.raises(CommandError, match=rf"tests\.Note\.text {notes[1].pk}: UnwrapFailed"):
            printed("rewrap")
        assert left("default") == 1

    def test_re_encrypt(self, notes):
        before = stored(notes[0], "text")
        printed("rewrap", key="default", re_encrypt=True, key_version=[1])
        assert stored(notes[0], "text")[81:] != before[81:]
        assert left("default") == 0

    def test_versions_need_a_key(self):
        with pytest.raises(CommandError, match="--key"):
            printed("rewrap", key_version=[1])

    def test_a_disabled_key(self, notes):
        key = create_master_key("lab")
        LabNote.objects.create(text="x")
        rotate_master_key("lab")
        disable(key)
        with pytest.raises(CommandError, match="enable the key"):
            printed("rewrap", key="lab")

    def test_a_run_that_was_started_elsewhere(self, notes):
        run = rotation.start("default")
        printed("rewrap", run=str(run.pk))
        run.refresh_from_db()
        assert run.state == "completed"

    @pytest.mark.parametrize("given", ["nope", "7d9f7d9e-0000-4000-8000-000000000000"])
    def test_a_run_that_is_not_there(self, given):
        with pytest.raises(CommandError, match=given):
            printed("rewrap", run=given)

    @pytest.mark.parametrize(
        "asked",
        [{"re_encrypt": True}, {"field": ["tests.Note.text"]}, {"database": "other"},
         {"key_version": [1]}],
    )  # fmt: skip
    def test_a_run_that_does_something_else_is_no_answer(self, notes, asked):
        """Whoever asks for a re-encryption after a leak does not get the rewrap that rested."""
        run = rotation.start("default")
        with pytest.raises(CommandError, match=f"not over: {run.pk}, pending"):
            printed("rewrap", key="default", **asked)
        assert left("default") == 10
        printed("rewrap", run=str(run.pk))
        printed("rewrap", key="default", **asked)

    def test_one_that_another_process_began_in_between_is_gone_on_with(self, notes, monkeypatch):
        """As where cron starts two at once."""
        run = rotation.start("default")
        monkeypatch.setattr(rotation, "active_run", lambda key: None)
        assert f"Run {run.pk}: completed" in printed("rewrap")
        create_master_key("lab")
        LabNote.objects.create(text="x")
        rotate_master_key("lab")
        rotate_master_key("default")
        other = rotation.start("default")
        with pytest.raises(CommandError, match=f"not over: {other.pk}"):
            printed("rewrap")

    def test_the_same_fields_in_other_letters_are_the_same(self, notes):
        rotation.start("default", fields=["tests.Note.text"])
        printed("rewrap", key="default", field=["tests.note.TEXT"])
        assert left("default") == 5

    def test_what_moved_the_last_value_and_was_killed(self, notes):
        run = begun(rotation.start("default"))
        for chunk in ranges.unfinished(run):
            move_range(chunk)
        assert left("default") == 0
        assert f"Run {run.pk}: completed" in printed("rewrap")

    def test_limits(self, notes):
        printed(
            "rewrap", batch_size=3, batch_seconds=2.0, lock_seconds=0.5, max_rate=5e6, sleep=0.001
        )
        assert RotationRun.objects.get().limits == {
            "batch_size": 3, "batch_seconds": 2.0, "lock_seconds": 0.5, "max_rate": 5e6,
            "sleep": 0.001, "nice_ratio": None, "tries": 5,
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("is_own_process", "options", "lowered"),
        [
            (True, {}, [5]), (True, {"nice_ratio": 0.01}, [5]), (True, {"nice_ratio": 0.0}, []),
            (False, {"nice_ratio": 0.01}, []),
        ],
    )  # fmt: skip
    def test_priority(self, notes, monkeypatch, is_own_process, options, lowered):
        """It is that of the process, which a web server calls its own."""
        asked = []
        monkeypatch.setattr("envelope_fields.management.runs.os.nice", asked.append)
        command = rewrap.Command(stdout=StringIO())
        command._called_from_command_line = is_own_process
        call_command(command, **options)
        assert asked == lowered
        assert RotationRun.objects.get().limits["nice_ratio"] == options.get("nice_ratio")

    def test_whoever_goes_on_may_be_more_polite(self, notes):
        run = rotation.start("default", limits=Limits(batch_size=3, tries=2))
        printed("rewrap", max_rate=1e6)
        run.refresh_from_db()
        assert (run.limits["max_rate"], run.limits["batch_size"], run.limits["tries"]) == (
            1e6,
            3,
            2,
        )
        acts = AuditEvent.objects.order_by("number").values_list("action", flat=True)
        assert list(acts)[-2:] == ["limit_rotation", "complete_rotation"]
        event = AuditEvent.objects.get(action="limit_rotation")
        assert event.before == {"max_rate": "None"}
        assert event.after == {"run": str(run.pk), "max_rate": "1000000.0"}

    def test_a_run_that_is_over_takes_no_limits(self, notes):
        run = rotation.run("default")
        with pytest.raises(CommandError, match="is completed"):
            printed("rewrap", run=str(run.pk), max_rate=1.0)


class TestRuns:
    def test_list(self, notes):
        assert printed("rotation_runs") == "No rotation is under way.\n"
        run = rotation.start("default")
        assert f"{run.pk}  default  rewrap  pending  0 of 0" in printed("rotation_runs")
        rotation.run(run)
        assert printed("rotation_runs") == "No rotation is under way.\n"
        assert "completed  10 of 10" in printed("rotation_runs", all=True)

    @pytest.mark.parametrize("json", [False, True])
    def test_many_take_as_many_queries_as_one(self, notes, json):
        queries = []
        for alias in ("default", "lab", "ward"):
            if alias != "default":
                create_master_key(alias)
            rotation.start(alias)
            with CaptureQueriesContext(connection) as captured:
                printed("rotation_runs", json=json)
            queries.append(len(captured))
        assert len(set(queries)) == 1

    def test_one_that_nobody_works_on_any_more(self, notes):
        run = begun(rotation.start("default"))
        assert "nobody" not in printed("rotation_runs")
        RotationRun.objects.update(heartbeat_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
        assert "0 of 10, no process at it since 2026-01-02 03:04:05 UTC\n" in printed(
            "rotation_runs"
        )
        (told,) = json.loads(printed("rotation_runs", json=True))
        assert told["seen_at"] == "2026-01-02T03:04:05+00:00"
        rotation.pause(run)
        assert "nobody" not in printed("rotation_runs")

    def test_acts(self, notes):
        run = rotation.start("default")
        assert "paused" in printed("rotation_runs", pause=str(run.pk))
        assert "running" in printed("rotation_runs", resume=str(run.pk))
        (told,) = json.loads(printed("rotation_runs", cancel=str(run.pk), json=True))
        assert told["state"] == "cancelled"
        with pytest.raises(CommandError, match="is cancelled"):
            printed("rotation_runs", resume=str(run.pk))


class TestVerify:
    def test_all_is_well(self, notes):
        assert printed("verify_envelopes") == "Values read: 10 of 10.\n"

    def test_nothing_there(self):
        assert printed("verify_envelopes") == "Values read: 0 of 0.\n"

    def test_what_cannot_be_read_is_listed(self, notes):
        altered = bytearray(stored(notes[0], "text"))
        altered[-1] ^= 1
        put(notes[0], "text", bytes(altered))
        put(notes[1], "text", b"plain text")
        put(notes[2], "text", b"\x01" + b"\xfe" * 120)
        put(notes[3], "text", stored(notes[3], "data"))
        out = StringIO()
        with pytest.raises(CommandError, match="Stored values that cannot be read: 4"):
            call_command("verify_envelopes", json=True, stdout=out)
        told = json.loads(out.getvalue())
        assert told["values"] == 10
        assert [(each["row"], each["cause"]) for each in told["unreadable"]] == [
            (str(notes[0].pk), "DecryptionFailed"),
            (str(notes[1].pk), "MalformedEnvelope"),
            (str(notes[2].pk), "MasterKeyNotFound"),
            (str(notes[3].pk), "DecryptionFailed"),
        ]
        assert "plain text" not in out.getvalue()

    def test_what_is_no_bytes(self, notes):
        """SQLite stores what it is given, whatever the column is declared as."""
        put(notes[1], "text", "plain text" if connection.vendor == "sqlite" else b"plain text")
        errors = StringIO()
        with pytest.raises(CommandError, match="cannot be read: 1"):
            call_command("verify_envelopes", stdout=StringIO(), stderr=errors)
        assert f"tests.Note.text {notes[1].pk} in 'default': MalformedEnvelope" in errors.getvalue()
        assert "plain text" not in errors.getvalue()

    def test_a_model_without_a_table(self, notes, monkeypatch):
        """It may live in two databases by the routers, and lives in one."""
        monkeypatch.setattr("envelope_fields.census.columns.apps", keyed.only(keyed.Foreign, Note))
        assert printed("verify_envelopes") == "Values read: 10 of 10.\n"

    def test_json_is_written_as_it_comes(self, notes):
        for note in notes:
            put(note, "text", b"plain text")
        out = StringIO()
        with pytest.raises(CommandError, match="cannot be read: 5"):
            call_command("verify_envelopes", json=True, stdout=out)
        assert len(out.getvalue().splitlines()) == 7
        told = json.loads(out.getvalue())
        assert (told["values"], len(told["unreadable"])) == (10, 5)
        assert json.loads(printed("verify_envelopes", field=["tests.Child"], json=True)) == {
            "unreadable": [],
            "values": 0,
        }

    def test_a_root_key_that_cannot_be_reached_is_said_once(self, notes, monkeypatch):
        def refuse(*args):
            raise RootKeyUnavailable("The root key is on holiday.")

        keyring.evict()
        monkeypatch.setattr("envelope_fields.root_keys.local.LocalRootKey.unwrap", refuse)
        errors = StringIO()
        with pytest.raises(CommandError, match="on holiday"):
            call_command("verify_envelopes", stderr=errors)
        assert errors.getvalue() == ""
        keyring.evict()  # other tests need not wait until it is asked again

    def test_people_read_it(self, notes):
        put(notes[1], "text", b"plain text")
        out, errors = StringIO(), StringIO()
        with pytest.raises(CommandError, match="cannot be read: 1"):
            call_command("verify_envelopes", stdout=out, stderr=errors)
        assert f"tests.Note.text {notes[1].pk} in 'default': MalformedEnvelope" in errors.getvalue()
        assert out.getvalue() == "Values read: 9 of 10.\n"

    def test_one_field(self, notes):
        put(notes[1], "text", b"plain text")
        assert printed("verify_envelopes", field=["tests.note.data"]) == "Values read: 5 of 5.\n"

    def test_more_than_a_batch(self, notes, monkeypatch):
        monkeypatch.setattr("envelope_fields.rotation.verification.ROWS_AT_ONCE", 3)
        monkeypatch.setattr("envelope_fields.jobs.batches.BYTES_AT_ONCE", 150)
        assert printed("verify_envelopes") == "Values read: 10 of 10.\n"

    def test_a_disabled_version(self, notes):
        disable(MasterKey.objects.get(alias="default").versions.get(number=1))
        with pytest.raises(CommandError, match="cannot be read: 10"):
            call_command("verify_envelopes", stderr=StringIO())
